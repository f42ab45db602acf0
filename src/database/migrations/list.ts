import { Start } from './0001-start.ts';

/** Every migration, in the order in which they run. A migration that has been released is never edited. */
export const migrations = [{ name: '0001-start', class: Start }];
