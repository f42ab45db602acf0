import {
  type ASTNode,
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isCompositeType,
  isObjectType,
  isRequiredArgument,
  Kind,
  parse,
  validate,
  visit,
} from 'graphql';
import type { Random } from './random.ts';
import { type Examples, ValidValues } from './valid-values.ts';

/** A GraphQL request that passes validation. */
export interface ValidRequest {
  query: string;
  variables: Record<string, unknown>;
}

/** Builds a random valid document with values for its variables. */
export function validRequest(
  random: Random,
  schema: GraphQLSchema,
  examples: Examples,
  kind: 'query' | 'mutation',
): ValidRequest {
  for (;;) {
    const request = new DocumentWriter(random, schema, examples).write(kind);
    const document = parse(request.query);
    // It is simpler to discard documents with conflicting fields than to avoid conflicts.
    if (validate(schema, document).length === 0 && isWithinLimits(document)) return request;
  }
}

const maxDepth = 6;
const maxAliases = 15;
const maxDirectives = 8;

/** Whether aliases and directives are within the limits, counted for each spread of their fragment. */
function isWithinLimits({ definitions }: DocumentNode): boolean {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const each of definitions)
    if (each.kind === Kind.FRAGMENT_DEFINITION) fragments.set(each.name.value, each);
  const counts = { aliases: 0, directives: 0 };
  const count = (node: ASTNode): unknown =>
    visit(node, {
      Directive: () => {
        counts.directives += 1;
      },
      Field: ({ alias }) => {
        if (alias) counts.aliases += 1;
      },
      FragmentSpread: ({ name }) => void count(fragments.get(name.value) as FragmentDefinitionNode),
    });
  for (const each of definitions) if (each.kind === Kind.OPERATION_DEFINITION) count(each);
  return counts.aliases <= maxAliases && counts.directives <= maxDirectives;
}

class DocumentWriter {
  readonly #random: Random;
  readonly #schema: GraphQLSchema;
  readonly #values: ValidValues;
  readonly #fragments: { name: string; type: GraphQLCompositeType; text: string }[] = [];
  #aliasesLeft = 12;
  #directivesLeft = 8;
  #listsLeft = 2;
  #fieldsLeft = 70;

  constructor(random: Random, schema: GraphQLSchema, examples: Examples) {
    this.#random = random;
    this.#schema = schema;
    this.#values = new ValidValues(random, examples);
  }

  write(kind: 'query' | 'mutation'): ValidRequest {
    const root = kind === 'query' ? this.#schema.getQueryType() : this.#schema.getMutationType();
    if (!root) throw new TypeError(`The schema has no ${kind}.`);
    const selections = this.#selections(root, maxDepth);
    const { declarations, variables } = this.#values;
    const declared = declarations.length > 0 ? `(${declarations.join(', ')})` : '';
    const fragments = this.#fragments.map(
      ({ name, type, text }) => `fragment ${name} on ${type.name} ${text}`,
    );
    const name = this.#random.isTrue(0.7) ? ' Random' : '';
    const operation =
      declared || name || kind === 'mutation' ? `${kind}${name}${declared} ${selections}` : selections;
    return { query: [operation, ...fragments].join('\n'), variables };
  }

  #selections(type: GraphQLCompositeType, depth: number): string {
    const written: string[] = [];
    const fields: { text: string; field: GraphQLField<unknown, unknown> }[] = [];
    const count = 1 + this.#random.below(depth > 3 ? 4 : 3);
    while (written.length < count) {
      const choice = this.#random.below(20);
      const earlier = fields[this.#random.below(fields.length)];
      if (choice < 2 && earlier) written.push(`${earlier.text}${this.#selectionsOf(earlier.field, depth)}`);
      else if (choice < 4 && depth > 1) written.push(this.#inlineFragment(type, depth));
      else if (choice < 7 && depth > 1) {
        const spread = this.#spread(type, depth);
        // Spreads a fragment again under other conditions, where executors tend to have bugs.
        const repeated = this.#random.isTrue(0.4) ? [` ...${spread}${this.#conditions()}`] : [];
        written.push(`...${spread}${this.#conditions()}`, ...repeated);
      } else if (choice < 8) written.push(`__typename${this.#conditions()}`);
      else {
        const field = this.#pickField(type, depth);
        if (!field) {
          written.push('__typename');
          continue;
        }
        const text = `${this.#alias()}${field.name}${this.#arguments(field)}`;
        fields.push({ text, field });
        written.push(`${text}${this.#conditions()}${this.#selectionsOf(field, depth)}`);
      }
    }
    return `{ ${written.join(' ')} }`;
  }

  #pickField(type: GraphQLCompositeType, depth: number): GraphQLField<unknown, unknown> | undefined {
    if (!('getFields' in type) || this.#fieldsLeft === 0) return undefined;
    const fields = Object.values(type.getFields()).filter((field) => {
      const isPage = field.args.some(({ name }) => name === 'first');
      return (depth > 1 || !isCompositeType(getNamedType(field.type))) && (!isPage || this.#listsLeft > 0);
    });
    if (fields.length === 0) return undefined;
    this.#fieldsLeft -= 1;
    const field = this.#random.pick(fields);
    if (field.args.some(({ name }) => name === 'first')) this.#listsLeft -= 1;
    return field;
  }

  #selectionsOf({ type }: GraphQLField<unknown, unknown>, depth: number): string {
    const named = getNamedType(type);
    return isCompositeType(named) ? ` ${this.#selections(named, depth - 1)}` : '';
  }

  #arguments({ args }: GraphQLField<unknown, unknown>): string {
    const given = args
      .filter((arg) => isRequiredArgument(arg) || this.#random.isTrue(0.35))
      .map((arg) => `${arg.name}: ${this.#values.argument(arg)}`);
    return given.length > 0 ? `(${given.join(', ')})` : '';
  }

  #alias(): string {
    if (this.#aliasesLeft === 0 || !this.#random.isTrue(0.2)) return '';
    this.#aliasesLeft -= 1;
    return `a${this.#random.below(6)}: `;
  }

  #conditions(): string {
    if (this.#directivesLeft < 2 || !this.#random.isTrue(0.2)) return '';
    const written = this.#random.some(['skip', 'include'], 0.6).map((name) => {
      this.#directivesLeft -= 1;
      const condition = this.#random.isTrue(0.5) ? `${this.#random.isTrue(0.5)}` : this.#values.condition();
      return `@${name}(if: ${condition})`;
    });
    return written.map((each) => ` ${each}`).join('');
  }

  #inlineFragment(type: GraphQLCompositeType, depth: number): string {
    const within = this.#random.pick(this.#overlapping(type));
    const on = within === type && this.#random.isTrue(0.5) ? '' : ` on ${within.name}`;
    return `...${on}${this.#conditions()} ${this.#selections(within, depth - 1)}`;
  }

  /** Returns the name of a fragment that can be spread in this type. */
  #spread(type: GraphQLCompositeType, depth: number): string {
    const types = this.#overlapping(type);
    const known = this.#fragments.filter((fragment) => types.includes(fragment.type));
    if (known.length > 0 && this.#random.isTrue(0.6)) return this.#random.pick(known).name;
    const within = this.#random.pick(types);
    const text = this.#selections(within, depth - 1);
    const name = `F${this.#fragments.length}`;
    this.#fragments.push({ name, type: within, text });
    return name;
  }

  /** The possible type conditions of a fragment within this type. */
  #overlapping(type: GraphQLCompositeType): GraphQLCompositeType[] {
    if (isAbstractType(type)) return [type, ...this.#schema.getPossibleTypes(type)];
    return isObjectType(type) ? [type, ...type.getInterfaces()] : [type];
  }
}
