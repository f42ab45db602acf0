import type { useDocumentLimits as original } from '../../../../src/graphql/document-limits.ts';

export * from '../../../../src/graphql/document-limits.ts';

/** Limits nothing. */
export const armor = { protect: () => ({ plugins: [] }) };

/** Refuses nothing. */
export const useDocumentLimits: typeof original = () => ({});
