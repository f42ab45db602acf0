import type { Secret } from '../common/secret.ts';
import type { EmbeddedLocation } from './embedded.ts';

/** Where the data is. */
export type DatabaseLocation = { kind: 'postgresql'; url: Secret } | EmbeddedLocation;
