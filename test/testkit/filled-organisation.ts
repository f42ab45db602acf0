import { AuditRetention } from '../../src/audit/audit-retention.entity.ts';
import { AuditStreamPosition } from '../../src/audit/audit-stream.entity.ts';
import { type Created, createMutation, okta } from './operations.ts';
import type { TestOrganisation, TestServer } from './server.ts';
import { createLink } from './setup-links.ts';
import { createEndpoint } from './webhook-receiver.ts';

const useQuery =
  'query ($id: UUID!) { oktaResponse(connectionId: $id, path: "/api/v1/users/me") { status } }';
const usageQuery = 'query ($id: UUID!) { appConnection(id: $id) { usage { total { calls } } } }';
const testMutation = 'mutation ($id: UUID!) { sendTestWebhook(endpointId: $id) { message { id } } }';

/** Gives an organisation rows in every table of organisations, and returns its connection and its setup link. */
export async function fillOrganisation(
  server: TestServer,
  { client, newKey, orgId }: TestOrganisation,
): Promise<{ connectionId: string; setupLink: string }> {
  const { createOktaConnection } = await client.request<Created>(
    createMutation,
    okta({ idempotencyKey: 'once', tags: [{ key: 'env', value: 'test' }] }),
  );
  const user = server.clientFor(await newKey(['connections:use', 'connections:read']));
  const { id } = createOktaConnection.appConnection;
  await user.request(useQuery, { id });
  // Reading usage stores it.
  await user.request(usageQuery, { id });
  const { secret } = await createLink(client, id);
  const webhook = await createEndpoint(client, { url: 'https://example.com/webhooks' });
  await client.request(testMutation, { id: webhook.id });
  const em = server.asOwner();
  await em.execute(
    "insert into host_outage values (?, 'https://down.okta.com', now(), now(), now(), 'down')",
    [orgId],
  );
  await em.execute(
    "insert into host_outage_history values (?, 'https://down.okta.com', now(), now(), null)",
    [orgId],
  );
  await em.execute(
    "insert into host_certificate values (?, 'https://down.okta.com', now(), now(), now(), null, now() + interval '1 day')",
    [orgId],
  );
  await em.execute("insert into mail_opt_out values (?, 'former@example.com', now())", [orgId]);
  await em.execute("insert into mail_count values (?, 'team@example.com', now(), 1)", [orgId]);
  const macs = await server.vault.rowMacs(em);
  const beginning = { orgId, seq: 0, hash: '', lastAt: new Date() };
  const { mac, lastAt } = macs.signed(em, AuditRetention, beginning);
  await em.execute("insert into audit_retention values (?, 0, '', ?, ?)", [orgId, lastAt, mac]);
  const position = macs.signed(em, AuditStreamPosition, { orgId, seq: 0, hash: '' });
  await em.execute("insert into audit_stream_position values (?, 0, '', ?)", [orgId, position.mac]);
  await em.execute("update app_connection set verification_status = 'UNREACHABLE' where org_id = ?", [orgId]);
  return { connectionId: id, setupLink: secret };
}
