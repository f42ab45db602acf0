import { EnvelopArmor } from '@escape.tech/graphql-armor';
import { type ASTVisitor, GraphQLError, type ListValueNode, type SelectionSetNode, visit } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Context } from './context.ts';

const maxListLength = 100;
const maxRepeats = 10;

/** What is said of a list that is too long. */
export const listTooLong = `A list has at most ${maxListLength} items.`;

/** What one request may ask for: enough for GraphiQL and for any client we know, too little to hold the server up. */
export const armor = new EnvelopArmor({
  maxTokens: { n: 2_000 },
  maxDepth: { n: 12, flattenFragments: true },
  // By themselves, aliases of `__typename` would not count.
  maxAliases: { n: 15, allowList: [] },
  maxDirectives: { n: 8 },
  // It counts `first` as a literal alone; cost.ts knows the variables.
  costLimit: { enabled: false },
  // A stranger does not get as far as suggestions; the holder of a key may have them.
  blockFieldSuggestion: { enabled: false },
});

/** Refuses what costs far more to check than to write, before the rules that it costs are run. */
export function useDocumentLimits(): Plugin<Context> {
  const rule = (): ASTVisitor => ({
    Document: (document) => void visit(document, { SelectionSet: assertFewRepeats, ListValue: assertShort }),
  });
  return { onValidate: ({ addValidationRule }) => addValidationRule(rule) };
}

/** What is asked for several times under one name is merged, for which each is compared with each. */
function assertFewRepeats({ selections }: SelectionSetNode): void {
  const counts = new Map<string, number>();
  for (const selection of selections) {
    if (!('name' in selection)) continue;
    const alias = 'alias' in selection ? selection.alias : undefined;
    const name = (alias ?? selection.name).value;
    const count = (counts.get(name) ?? 0) + 1;
    if (count > maxRepeats) throw documentRejected(`One thing is asked for more than ${maxRepeats} times.`);
    counts.set(name, count);
  }
}

function assertShort({ values }: ListValueNode): void {
  if (values.length > maxListLength) throw documentRejected(listTooLong);
}

export function documentRejected(message: string): GraphQLError {
  return new GraphQLError(message, { extensions: { http: { status: 400, spec: true } } });
}

/** Whether there is a longer list in a variable than any may be. No type goes as deep as this looks. */
export function hasLongList(value: unknown, levels = 12): boolean {
  if (typeof value !== 'object' || value === null || levels === 0) return false;
  if (Array.isArray(value) && value.length > maxListLength) return true;
  return Object.values(value).some((item) => hasLongList(item, levels - 1));
}
