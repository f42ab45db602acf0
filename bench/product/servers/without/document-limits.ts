import type { Plugin } from 'graphql-yoga';
import type { Context } from '../../../../src/graphql/context.ts';

export * from '../../../../src/graphql/document-limits.ts';

/** Limits nothing. */
export const armor = { protect: () => ({ plugins: [] }) };

/** Refuses nothing. */
export const useFrugalDocuments = (): Plugin<Context> => ({});
