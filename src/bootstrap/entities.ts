import { AuditEvent, AuditHead } from '../audit/audit-event.entity.ts';
import { AppConnection } from '../connections/app-connection.entity.ts';
import { IdempotentRequest } from '../connections/idempotency.entity.ts';
import { RateBudget } from '../connections/rate-budget/rate-budget.entity.ts';
import { CallerUsage, ConnectionUsage, LastUse } from '../connections/usage/usage.entity.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import { Organisation, Project } from '../identity/organisation.entity.ts';
import { RateLimit } from '../rate-limits/rate-limit.entity.ts';

/** All entities. */
export const entities = [
  ApiKey,
  AppConnection,
  AuditEvent,
  AuditHead,
  CallerUsage,
  ConnectionUsage,
  DataKey,
  IdempotentRequest,
  LastUse,
  Organisation,
  Project,
  RateBudget,
  RateLimit,
];
