import type { AuditEvent } from './audit-event.entity.ts';
import { parseUse } from './recorded-use.ts';

/** Returns an event as JSON, in REST and in exports. */
export function serializeEvent(event: AuditEvent) {
  return {
    seq: event.seq,
    at: event.at.toISOString(),
    action: event.action,
    keyId: event.keyId ?? null,
    subject: event.subject ?? null,
    connectionId: event.connectionId ?? null,
    connectionName: event.connectionName ?? null,
    projectId: event.projectId ?? null,
    apiKeyId: event.apiKeyId ?? null,
    targetName: event.targetName ?? null,
    use: (event.action === 'USE_CONNECTION' && event.targetName && parseUse(event.targetName)) || null,
    setupLinkId: event.setupLinkId ?? null,
    address: event.address ?? null,
    requestId: event.requestId ?? null,
    outcome: event.outcome,
    count: event.count ?? 1,
    changedFields: event.fields,
  };
}

/** Returns an event as a line of JSON, without a line break, in exports and in the stream. */
export function toExportLine(event: AuditEvent): string {
  return JSON.stringify({ orgId: event.orgId, ...serializeEvent(event), hash: event.hash });
}
