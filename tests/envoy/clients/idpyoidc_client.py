#!/usr/bin/env python3
"""Registers a client with PyPI's idpyoidc, then reads the registration, and prints both answers as JSON, a line each.

    idpyoidc_client.py http://127.0.0.1:10000/register <initial access token>
"""

import argparse
import json

import requests
from idpyoidc.client.defaults import DEFAULT_OIDC_SERVICES
from idpyoidc.client.oidc import RP

SERVICES = {
    **DEFAULT_OIDC_SERVICES,
    "registration_read": {"class": "idpyoidc.client.oidc.read_registration.RegistrationRead"},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("endpoint")
    parser.add_argument("token", help="an initial access token")
    arguments = parser.parse_args()

    config = {
        "provider_info": {
            "issuer": "https://login.microsoftonline.com/8d7f1c2a-5b3e-4f60-9a71-2c4d6e8f0a1b/v2.0",
            "registration_endpoint": arguments.endpoint,
        },
        "redirect_uris": ["https://rp.contoso.com/callback"],
        "preference": {
            "client_name": "idpyoidc",
            "application_type": "web",
            "contacts": ["ops@contoso.com"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "client_secret_basic",
        },
    }

    def transport(method, url, headers=None, **options):
        # The library has no place for initial access tokens.
        headers = {"Authorization": f"Bearer {arguments.token}", **(headers or {})}
        return requests.request(method, url, headers=headers, timeout=30, **options)

    client = RP(config=config, httpc=transport, services=SERVICES)
    context = client.get_context()
    context.issuer = config["provider_info"]["issuer"]
    registered = client.do_request("registration")
    print(json.dumps(registered.to_dict()))
    read = client.do_request("registration_read", authn_method="client_secret_basic")
    print(json.dumps(read.to_dict()))


if __name__ == "__main__":
    main()
