import type { AppReads } from '../../typed-read.ts';
import { parseErrorCode } from '../parse-response.ts';
import { applicationReads } from './applications.ts';
import { groupReads } from './groups.ts';
import { logReads } from './log-events.ts';
import { organisationReads } from './organisation.ts';
import { userReads } from './users.ts';

/** What callers read of Okta in GraphQL. */
export const oktaReads: AppReads = {
  fields: [...userReads, ...groupReads, ...applicationReads, ...logReads, ...organisationReads],
  readErrorCode: parseErrorCode,
  // As `readRequestId` in parse-response.ts; the token is masked in these headers.
  readRequestId: ({ 'x-okta-request-id': id = '' }) => (/^[A-Za-z0-9_@-]{16,36}$/.test(id) ? id : undefined),
};
