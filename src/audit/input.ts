import { storableText } from '../text.ts';

/** The subject of tokens whose events are listed. */
export const subjectFilter = storableText(255, 'A subject has at most 255 characters.');

/** The outcome that listed events have: `OK`, or an error code. */
export const outcomeFilter = storableText(64, 'No outcome has more than 64 characters.');
