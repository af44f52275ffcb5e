#!/usr/bin/env python3
"""Calls an API with the authorization of PyPI's mcp, which knows nothing but the API's address, and prints what it asked:
a line of JSON for each request (method, url, status), and one for the answer.

    mcp_client.py http://127.0.0.1:9100 http://127.0.0.1:10000 https://api.example.com/mcp/tools
    mcp_client.py http://127.0.0.1:9100 http://127.0.0.1:10000 https://api.example.com/mcp/tools --register none

The first address is the mock's, the second that of the gateway in front of the API, the third the API's. The client is one
that is registered already; with --register there is none yet: it asks for that token_endpoint_auth_method, or for none
in particular, and the last line but one tells what it became.
"""

import argparse
import asyncio
import json
from urllib.parse import parse_qsl, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata

CLIENT = "bbbbbbbb-0000-4000-8000-000000000002"
REDIRECT_URI = "http://localhost:33418/callback"


class Routed(httpx2.AsyncBaseTransport):
    """Sends what is meant for the API to the gateway and all else to the mock, with the Host of the URL."""

    def __init__(self, mock: str, gateway: str, api: str):
        self.mock, self.gateway, self.api = urlsplit(mock), urlsplit(gateway), urlsplit(api)
        self.transport = httpx2.AsyncHTTPTransport()
        self.asked = []

    async def handle_async_request(self, request):
        asked = str(request.url)
        place = self.gateway if urlsplit(asked).netloc == self.api.netloc else self.mock
        # A copy: the client sends the request itself a second time, to its own URL.
        url = request.url.copy_with(scheme="http", host=place.hostname, port=place.port)
        copy = httpx2.Request(
            request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
        )
        response = await self.transport.handle_async_request(copy)
        self.asked.append({"method": request.method, "url": asked, "status": response.status_code})
        return response

    async def aclose(self):
        await self.transport.aclose()


class Storage:
    """What the client keeps: an application that is registered already, or nothing yet."""

    def __init__(self, client: OAuthClientInformationFull | None):
        self.tokens = None
        self.client = client

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info


async def call(mock: str, gateway: str, api: str, register: str | None):
    transport = Routed(mock, gateway, api)
    known = OAuthClientInformationFull(
        client_id=CLIENT, redirect_uris=[REDIRECT_URI], token_endpoint_auth_method="none"
    )
    storage = Storage(None if register else known)
    answers = []

    async def browse(url):
        """The browser: the mock redirects at once, and so does a gateway that passes authorization requests through."""
        async with httpx2.AsyncClient(transport=transport, follow_redirects=False) as browser:
            while not url.startswith(REDIRECT_URI):
                url = (await browser.get(url)).headers["location"]
            answers.append(dict(parse_qsl(urlsplit(url).query)))

    async def callback():
        answer = answers.pop()
        return AuthorizationCodeResult(code=answer["code"], state=answer["state"], iss=answer.get("iss"))

    authorization = OAuthClientProvider(
        server_url=api,
        client_metadata=OAuthClientMetadata(
            client_name="entra-gate's test",
            redirect_uris=[REDIRECT_URI],
            grant_types=["authorization_code", "refresh_token"],
            token_endpoint_auth_method="none" if register == "none" else None,
        ),
        storage=storage,
        redirect_handler=browse,
        callback_handler=callback,
    )
    async with httpx2.AsyncClient(transport=transport, auth=authorization) as client:
        answer = await client.get(api)
    for asked in transport.asked:
        print(json.dumps(asked))
    if register:
        print(storage.client.model_dump_json(exclude_none=True))
    print(json.dumps({"status": answer.status_code, "body": answer.text}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mock", help="the mock's URL")
    parser.add_argument("gateway", help="the URL of the gateway in front of the API")
    parser.add_argument("api", help="the API's own URL")
    parser.add_argument("--register", choices=["none", "any"], help="begin without a client")
    arguments = parser.parse_args()
    asyncio.run(call(arguments.mock, arguments.gateway, arguments.api, arguments.register))


if __name__ == "__main__":
    main()
