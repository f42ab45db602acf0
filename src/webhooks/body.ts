import type { AuditEvent } from '../audit/audit-event.entity.ts';
import type { AppConnection } from '../connections/app-connection.entity.ts';
import { parseCertificateTarget } from '../connections/certificate-target.ts';
import type { WebhookEventType } from './event-types.ts';
import type { DigestFormat, WebhookFormat } from './webhook-endpoint.entity.ts';

/** The members of an audit event that a body is built of. */
export type DescribedEvent = Pick<
  AuditEvent,
  'orgId' | 'seq' | 'at' | 'action' | 'outcome' | 'fields' | 'targetName'
> &
  Partial<Pick<AuditEvent, 'connectionId' | 'connectionName' | 'projectId'>>;

/** An event to describe. */
export interface BodyInput {
  /** `webhook-id`. */
  id: string;
  type: WebhookEventType;
  event: DescribedEvent;
  /** The connection as it is now; absent if it is purged, or if the event is not about one. */
  connection?: AppConnection | undefined;
}

/** Builds the body of a message for programs: ids, status and diagnosis, and nothing of the credentials. */
export function buildBody(
  format: Exclude<WebhookFormat, DigestFormat>,
  { id, type, event, connection }: BodyInput,
): string {
  const { orgId, seq, at, outcome, fields, connectionId, connectionName, projectId } = event;
  const time = at.toISOString();
  const data = {
    orgId,
    /** As `seq` of the event in the audit trail. */
    seq,
    outcome,
    changedFields: fields,
    ...describeHost(event),
    connection: connectionId
      ? {
          id: connectionId,
          name: connectionName ?? connection?.name ?? null,
          projectId: projectId ?? null,
          ...(connection && describeConnection(connection)),
        }
      : null,
  };
  const body =
    format === 'STANDARD'
      ? { type, timestamp: time, data }
      : {
          ...{ specversion: '1.0', id, source: `/organisations/${orgId}`, type },
          ...(connectionId && { subject: connectionId }),
          ...{ time, datacontenttype: 'application/json', data },
        };
  return JSON.stringify(body);
}

/** The host that an event is about, and the end of its certificate. */
function describeHost(event: DescribedEvent) {
  const host = findHost(event);
  if (event.action !== 'WARN_OF_CERTIFICATE') return host && { host };
  return { host, hostCertificate: { validTo: parseCertificateTarget(event.targetName).validTo } };
}

/** Returns the origin of the host that an event is about; undefined if it is not about one. */
export function findHost({ action, targetName }: Pick<DescribedEvent, 'action' | 'targetName'>) {
  if (action === 'CHECK_HOST') return targetName ?? undefined;
  return action === 'WARN_OF_CERTIFICATE' ? parseCertificateTarget(targetName).host : undefined;
}

/** Returns the media type of a body. A message keeps the format that its endpoint had when it was made. */
export function findMediaType(body: string): string {
  const isCloudEvent = 'specversion' in JSON.parse(body);
  return isCloudEvent ? 'application/cloudevents+json; charset=utf-8' : 'application/json';
}

function describeConnection(connection: AppConnection) {
  const { app, method, version, verificationStatus: status, verificationCheckedAt } = connection;
  return {
    ...{ app, method, version },
    verification: {
      status,
      checkedAt: verificationCheckedAt?.toISOString() ?? null,
      code: connection.verificationCode ?? null,
      message: connection.verificationMessage ?? null,
      remedy: connection.verificationRemedy ?? null,
      failingSince: connection.failingSince?.toISOString() ?? null,
    },
    expiresAt: connection.expiresAt?.toISOString() ?? null,
    expiryReason: connection.expiryReason ?? null,
  };
}
