#!/usr/bin/env python3
"""Gets an access token from the mock with PyPI's msal and prints nothing else.

    msal_client.py http://127.0.0.1:9100 <tenant> api://orders/.default
    msal_client.py http://127.0.0.1:9100 <tenant> api://orders/Orders.Read --flow code
    msal_client.py http://127.0.0.1:9100 <tenant> api://orders/.default --client <id> --key key.pem --certificate crt.pem
"""

import argparse
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import msal
import requests

CLIENT = "aaaaaaaa-0000-4000-8000-000000000001"
SECRET = "worthless-secret"
REDIRECT_URI = "http://localhost:8400/"


class MockTransport:
    """The http_client of msal: sends to the mock what is meant for Entra, with the Host of the URL."""

    def __init__(self, mock: str):
        self.mock = mock.rstrip("/")
        self.session = requests.Session()

    def request(self, method, url, headers=None, **options):
        parts = urlsplit(url)
        target = self.mock + parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {**(headers or {}), "Host": parts.netloc}
        return self.session.request(method, target, headers=headers, allow_redirects=False, timeout=10, **options)

    def get(self, url, **options):
        return self.request("GET", url, **options)

    def post(self, url, **options):
        return self.request("POST", url, **options)

    def close(self):
        self.session.close()


def by_code(app, transport, scope):
    """The authorization code flow with PKCE; the mock redirects at once."""
    flow = app.initiate_auth_code_flow([scope], redirect_uri=REDIRECT_URI)
    redirect = transport.get(flow["auth_uri"])
    if redirect.status_code != 302:
        return redirect.json()
    answer = dict(parse_qsl(urlsplit(redirect.headers["Location"]).query))
    return app.acquire_token_by_auth_code_flow(flow, answer)


def by_plain_code(app, transport, scope):
    """The same without PKCE, by msal's older method."""
    redirect = transport.get(app.get_authorization_request_url([scope], redirect_uri=REDIRECT_URI, state="s"))
    if redirect.status_code != 302:
        return redirect.json()
    answer = dict(parse_qsl(urlsplit(redirect.headers["Location"]).query))
    return app.acquire_token_by_authorization_code(answer["code"], [scope], redirect_uri=REDIRECT_URI)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mock", help="the mock's URL")
    parser.add_argument("tenant", help="GUID or domain")
    parser.add_argument("scope")
    parser.add_argument("--flow", choices=["client", "code", "plain-code"], default="client")
    parser.add_argument("--client", default=CLIENT)
    parser.add_argument("--secret", default=SECRET)
    parser.add_argument("--key", type=Path, help="a private key in the secret's place, with --certificate")
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--authority", default="https://login.microsoftonline.com", help="without the tenant")
    arguments = parser.parse_args()

    credential = arguments.secret
    if arguments.key:
        credential = {
            "private_key": arguments.key.read_text(),
            "public_certificate": arguments.certificate.read_text(),
        }
    transport = MockTransport(arguments.mock)
    app = msal.ConfidentialClientApplication(
        arguments.client,
        client_credential=credential,
        authority=f"{arguments.authority}/{arguments.tenant}",
        instance_discovery=False,
        http_client=transport,
    )
    if arguments.flow == "client":
        result = app.acquire_token_for_client(scopes=[arguments.scope])
    elif arguments.flow == "code":
        result = by_code(app, transport, arguments.scope)
    else:
        result = by_plain_code(app, transport, arguments.scope)

    if "access_token" not in result:
        sys.exit(f"{result.get('error')}: {result.get('error_description')}")
    print(result["access_token"])


if __name__ == "__main__":
    main()
