import { ApiKey } from './access/api-key.entity.ts';
import { Organisation, Project } from './access/organisation.entity.ts';
import { AuditEvent, AuditHead } from './audit/audit-event.entity.ts';
import { AppConnection } from './connections/app-connection.entity.ts';
import { IdempotentRequest } from './connections/idempotency.entity.ts';
import { RateLimit } from './limits/rate-limit.entity.ts';
import { DataKey } from './secrets/data-key.entity.ts';

/** Everything that is stored. */
export const entities = [
  ApiKey,
  AppConnection,
  AuditEvent,
  AuditHead,
  DataKey,
  IdempotentRequest,
  Organisation,
  Project,
  RateLimit,
];
