import type { Secret } from '../common/secret.ts';
import type { EmbeddedLocation } from './embedded.ts';

/** The location of the database. */
export type DatabaseLocation = { kind: 'postgresql'; url: Secret } | EmbeddedLocation;
