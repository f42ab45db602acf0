import { AuditEvent, AuditHead } from '../audit/audit-event.entity.ts';
import { AuditRetention } from '../audit/audit-retention.entity.ts';
import { AuditStream, AuditStreamPosition } from '../audit/audit-stream.entity.ts';
import { AppConnection } from '../connections/app-connection.entity.ts';
import { PastOutage, PastStatus } from '../connections/checks/status-history.entity.ts';
import { ConnectionTag } from '../connections/connection-tag.entity.ts';
import { HostCertificate } from '../connections/host-certificate.entity.ts';
import { HostOutage } from '../connections/host-outage.entity.ts';
import { IdempotentRequest } from '../connections/idempotency.entity.ts';
import { RateBudget } from '../connections/rate-budget/rate-budget.entity.ts';
import { SetupLink } from '../connections/setup-link.entity.ts';
import { CallerUsage, ConnectionUsage, LastUse } from '../connections/usage/usage.entity.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import { Organisation, Project } from '../identity/organisation.entity.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';
import { RateLimit } from '../rate-limits/rate-limit.entity.ts';
import { MailCount } from '../webhooks/mail-count.entity.ts';
import { MailOptOut } from '../webhooks/mail-opt-out.entity.ts';
import { WebhookEndpoint } from '../webhooks/webhook-endpoint.entity.ts';
import { WebhookMessage } from '../webhooks/webhook-message.entity.ts';

/** All entities. */
export const entities = [
  ApiKey,
  AppConnection,
  AuditEvent,
  AuditHead,
  AuditRetention,
  AuditStream,
  AuditStreamPosition,
  CallerUsage,
  ConnectionTag,
  ConnectionUsage,
  DataKey,
  HostCertificate,
  HostOutage,
  IdempotentRequest,
  LastUse,
  MailCount,
  MailOptOut,
  Organisation,
  OrganisationDeletion,
  PastOutage,
  PastStatus,
  Project,
  RateBudget,
  RateLimit,
  SetupLink,
  WebhookEndpoint,
  WebhookMessage,
];
