import { storableText } from '../common/text.ts';
import type { AuditAction } from './audit-event.entity.ts';

const notEmpty = { error: 'The text must have at least one character. Omit it for no filter.' };

/** The schema of the filter `subject`. */
export const subjectFilter = storableText(255, 'A subject has at most 255 characters.').min(1, notEmpty);

/** The schema of the filter `outcome`: `OK`, or an error code. */
export const outcomeFilter = storableText(64, 'An outcome has at most 64 characters.').min(1, notEmpty);

/** The conditions for events. Absent or null: no condition. */
export interface EventFilter {
  action?: AuditAction | null | undefined;
  connectionId?: string | null | undefined;
  keyId?: string | null | undefined;
  subject?: string | null | undefined;
  projectId?: string | null | undefined;
  /** `OK`, or an error code. */
  outcome?: string | null | undefined;
  /** Whether only writes through connections are listed. */
  writesOnly?: boolean | null | undefined;
  /** Inclusive. */
  from?: Date | null | undefined;
  /** Exclusive. */
  to?: Date | null | undefined;
}
