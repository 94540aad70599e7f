// Clients from npm that are let in from another device, as their manuals do it; the person is the test, which reads what is asked here.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import * as oauth from "oauth4webapi";
import * as openid from "openid-client";

const { url, id, key } = JSON.parse(process.env.TOWN);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let last = Promise.resolve();
const person = (act, asked) => (last = last.then(() => (console.log(JSON.stringify([act, asked.user_code, asked.session_id])), lines.next())));
const plain = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(url);

// openid-client: it polls by itself
const execute = [openid.allowInsecureRequests];
const checker = await openid.discovery(issuer, id, key, undefined, { execute });
const visitor = () => openid.discovery(issuer, "doorward", undefined, openid.None(), { execute });
const config = await visitor();
const active = async (token) => (await openid.tokenIntrospection(checker, token)).active;

const letIn = async () => {
  const asked = await openid.initiateDeviceAuthorization(config, { scope: "orders:read" });
  assert.match(asked.user_code, /^[B-Z]{4}-[B-Z]{4}$/);
  assert.ok(asked.verification_uri_complete.startsWith(asked.verification_uri));
  const waiting = openid.pollDeviceAuthorizationGrant(config, asked); // after the interval that the service named
  await person("approve", asked);
  const tokens = await waiting;
  assert.equal(tokens.scope, "orders:read");
  const fresh = await openid.refreshTokenGrant(config, tokens.refresh_token);
  assert.equal(await active(fresh.access_token), true);
  await openid.tokenRevocation(config, fresh.refresh_token);
  assert.equal(await active(fresh.access_token), false);
};
const hurried = async () => {
  const told = [];
  const hasty = await visitor();
  const asked = await openid.initiateDeviceAuthorization(hasty, {});
  hasty[openid.customFetch] = async (...request) => {
    const answer = await fetch(...request);
    if (answer.status === 400 && told.push((await answer.clone().json()).error) === 2) await person("approve", asked);
    return answer;
  };
  const tokens = await openid.pollDeviceAuthorizationGrant(hasty, { ...asked, interval: 0.1 });
  assert.deepEqual(told, ["authorization_pending", "slow_down"]);
  assert.equal(await active(tokens.access_token), true);
};
const refused = async (act, error) => {
  const asked = await openid.initiateDeviceAuthorization(config, {});
  await person(act, asked);
  const poll = openid.pollDeviceAuthorizationGrant(config, { ...asked, interval: 0.1 });
  await assert.rejects(poll, { name: "ResponseBodyError", error });
};
for (const [act, error] of [["deny", "access_denied"], ["call suspicious", "access_denied"], ["let expire", "expired_token"]]) await refused(act, error);
await Promise.all([letIn(), hurried()]);

// oauth4webapi: each step by itself
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...plain }));
const job = { client_id: "job" };
const none = oauth.None();
const ask = async (scope) => {
  const answer = await oauth.deviceAuthorizationRequest(server, job, none, new URLSearchParams({ scope }), plain);
  return oauth.processDeviceAuthorizationResponse(server, job, answer);
};
const poll = async (asked, client = job) => {
  const answer = await oauth.deviceCodeGrantRequest(server, client, none, asked.device_code, plain);
  return oauth.processDeviceCodeResponse(server, client, answer);
};
const told = (error) => ({ name: "ResponseBodyError", error });

const asked = await ask("orders:read orders:write");
for (const error of ["authorization_pending", "slow_down"]) await assert.rejects(poll(asked), told(error));
await person("approve", asked);
await assert.rejects(poll(asked, { client_id: "doorward" }), told("invalid_grant"));
const tokens = await poll(asked);
assert.equal(tokens.scope, "orders:read"); // all that this client may have
await assert.rejects(poll(asked), told("invalid_grant"));
const again = await oauth.refreshTokenGrantRequest(server, job, none, tokens.refresh_token, plain);
const { access_token: token } = await oauth.processRefreshTokenResponse(server, job, again);
const request = new Request(`${url}/orders`, { headers: { authorization: `Bearer ${token}` } });
const claims = await oauth.validateJwtAccessToken(server, request, url, plain); // the profile of RFC 9068
assert.deepEqual([claims.client_id, claims.scope, claims.sid], ["job", "orders:read", asked.session_id]);
await oauth.processRevocationResponse(await oauth.revocationRequest(server, job, none, token, plain));
assert.equal(await active(token), false);
for (const [act, error] of [["deny", "access_denied"], ["let expire", "expired_token"]]) {
  const asked = await ask("orders:read");
  await person(act, asked);
  await assert.rejects(poll(asked), told(error));
}
console.log('"done"');
process.exit(0);
