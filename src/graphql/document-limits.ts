import { EnvelopArmor } from '@escape.tech/graphql-armor';
import { type ASTVisitor, GraphQLError, type ListValueNode, type SelectionSetNode, visit } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Context } from './context.ts';

const maxListLength = 100;
const maxRepeatedFields = 10;

/** The message for a list that is too long. */
export const listTooLong = `A list has at most ${maxListLength} items.`;

/** Limits of graphql-armor: enough for GraphiQL and common clients, too small to block the server. */
export const armor = new EnvelopArmor({
  maxTokens: { n: 2_000 },
  maxDepth: { n: 12, flattenFragments: true },
  // The default does not count aliases of `__typename`.
  maxAliases: { n: 15, allowList: [] },
  maxDirectives: { n: 8 },
  // It supports `first` as a literal only; cost.ts supports variables.
  costLimit: { enabled: false },
  // Unauthenticated clients do not get as far as validation; authenticated ones may have suggestions.
  blockFieldSuggestion: { enabled: false },
});

/** Rejects documents whose validation would take much longer than their parsing. Runs before the other rules. */
export function useDocumentLimits(): Plugin<Context> {
  const validationRule = (): ASTVisitor => ({
    Document: (document) =>
      void visit(document, { SelectionSet: assertFewRepeatedFields, ListValue: assertShortList }),
  });
  return { onValidate: ({ addValidationRule }) => addValidationRule(validationRule) };
}

/** Repeated fields are merged, and validation compares each pair of them. */
function assertFewRepeatedFields({ selections }: SelectionSetNode): void {
  const counts = new Map<string, number>();
  for (const selection of selections) {
    if (!('name' in selection)) continue;
    const alias = 'alias' in selection ? selection.alias : undefined;
    const name = (alias ?? selection.name).value;
    const count = (counts.get(name) ?? 0) + 1;
    if (count > maxRepeatedFields)
      throw documentRejected(`A selection set has the same field more than ${maxRepeatedFields} times.`);
    counts.set(name, count);
  }
}

function assertShortList({ values }: ListValueNode): void {
  if (values.length > maxListLength) throw documentRejected(listTooLong);
}

/** An error for a document that exceeds a limit; HTTP status 400. */
export function documentRejected(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { http: { status: 400, spec: true } } });
}

/** Whether a variable contains a list that is too long. Input types are less than `maxDepth` levels deep. */
export function hasLongList(value: unknown, maxDepth = 12): boolean {
  if (typeof value !== 'object' || value === null || maxDepth === 0) return false;
  if (Array.isArray(value) && value.length > maxListLength) return true;
  return Object.values(value).some((item) => hasLongList(item, maxDepth - 1));
}
