import { storableText } from '../common/text.ts';
import type { AuditAction } from './audit-event.entity.ts';

/** The subject of tokens whose events are listed. */
export const subjectFilter = storableText(255, 'A subject has at most 255 characters.');

/** The outcome that listed events have: `OK`, or an error code. */
export const outcomeFilter = storableText(64, 'No outcome has more than 64 characters.');

/** Which events to list; what is absent or null does not count. */
export interface EventFilter {
  action?: AuditAction | null | undefined;
  connectionId?: string | null | undefined;
  keyId?: string | null | undefined;
  subject?: string | null | undefined;
  projectId?: string | null | undefined;
  /** `OK`, or an error code. */
  outcome?: string | null | undefined;
  /** Inclusive. */
  from?: Date | null | undefined;
  /** Exclusive. */
  to?: Date | null | undefined;
}
