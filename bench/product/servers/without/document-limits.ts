import type { useDocumentLimits as original } from '../../../../src/graphql/document-limits.ts';

export * from '../../../../src/graphql/document-limits.ts';

/** A replacement without limits. */
export const armor = { protect: () => ({ plugins: [] }) };

/** A replacement that refuses nothing. */
export const useDocumentLimits: typeof original = () => ({});
