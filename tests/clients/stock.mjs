// Clients from npm, as their manuals use them: they know nothing of Doorward but its address.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import * as jose from "jose";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const { url, id, key } = JSON.parse(process.env.TOWN);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (what) => (console.log(what), JSON.parse((await lines.next()).value));
const plain = { [oauth.allowInsecureRequests]: true };

// oauth4webapi
const issuer = new URL(url);
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...plain }));
const client = { client_id: id };
for (const how of [oauth.ClientSecretBasic(key), oauth.ClientSecretPost(key)]) {
  const answer = await oauth.clientCredentialsGrantRequest(server, client, how, new URLSearchParams({ scope: "orders:read" }), plain);
  const { access_token: token, scope } = await oauth.processClientCredentialsResponse(server, client, answer);
  assert.equal(scope, "orders:read");
  const told = await oauth.processIntrospectionResponse(server, client, await oauth.introspectionRequest(server, client, how, token, plain));
  assert.deepEqual([told.active, told.client_id], [true, id]);
  const request = new Request(`${url}/orders`, { headers: { authorization: `Bearer ${token}` } });
  const claims = await oauth.validateJwtAccessToken(server, request, url, plain); // the profile of RFC 9068
  assert.equal(claims.client_id, id);
  const session = await ask("login");
  await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, how, session.refresh_token, plain));
  const gone = await oauth.introspectionRequest(server, client, how, session.access_token, plain);
  assert.deepEqual(await oauth.processIntrospectionResponse(server, client, gone), { active: false });
}
const wrong = await oauth.clientCredentialsGrantRequest(server, client, oauth.ClientSecretBasic("wrong"), {}, plain);
await assert.rejects(oauth.processClientCredentialsResponse(server, client, wrong), { name: /WWWAuthenticateChallengeError|ResponseBodyError/ });

// openid-client, at the other address of discovery
const config = await openid.discovery(issuer, id, key, undefined, { execute: [openid.allowInsecureRequests] });
const traded = await openid.clientCredentialsGrant(config, { scope: "orders:read" });
assert.equal((await openid.tokenIntrospection(config, traded.access_token)).active, true);
const session = await ask("login");
const visitor = await openid.discovery(issuer, "doorward", undefined, openid.None(), { execute: [openid.allowInsecureRequests] });
const refreshed = await openid.refreshTokenGrant(visitor, session.refresh_token);
await openid.tokenRevocation(visitor, refreshed.access_token);
assert.deepEqual(await openid.tokenIntrospection(config, refreshed.access_token), { active: false });

// jose, before and after a rotation
const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri), { cooldownDuration: 0 });
const kids = new Set();
for (const what of ["login", "rotated login"]) {
  const { access_token: token } = await ask(what);
  const found = await jose.jwtVerify(token, keys, { issuer: url, audience: url, typ: "at+jwt", algorithms: ["ES256"] });
  kids.add(found.protectedHeader.kid);
}
assert.equal(kids.size, 2);
console.log("done");
process.exit(0);
