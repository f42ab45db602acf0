import {
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLInputType,
  type GraphQLOutputType,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  isAbstractType,
  isEnumType,
  isInputObjectType,
  isListType,
  isObjectType,
} from 'graphql';
import type { Random } from './random.ts';
import { corrupt, type Fixture, json, text, token, url } from './values.ts';

/** A GraphQL request that is almost valid, or a valid one with a mutation. */
export function graphqlBody(random: Random, fixture: Fixture, schema: GraphQLSchema): unknown {
  const variables: Record<string, unknown> = {};
  let query = buildDocument(random, fixture, schema, variables);
  if (random.isTrue(0.15)) query = corrupt(random, fixture, query);
  const body: Record<string, unknown> = { query, variables };
  if (random.isTrue(0.03)) body.variables = json(random, fixture);
  if (random.isTrue(0.03)) body.operationName = json(random, fixture, 1);
  if (random.isTrue(0.03)) body.extensions = json(random, fixture);
  if (random.isTrue(0.02)) body.query = json(random, fixture);
  if (random.isTrue(0.03)) body[fixture.planted] = fixture.planted;
  return random.isTrue(0.03) ? random.list(30, () => body) : body;
}

function buildDocument(
  random: Random,
  fixture: Fixture,
  schema: GraphQLSchema,
  variables: Record<string, unknown>,
): string {
  const roots = [
    schema.getQueryType(),
    schema.getMutationType(),
    schema.getMutationType(),
    schema.getSubscriptionType(),
  ];
  const root = random.pick(roots.filter((type) => type != null));
  const declared: string[] = [];
  const selections = Array.from({ length: 1 + random.below(2) }, () => {
    const field = random.pick(Object.values(root.getFields()));
    const given = buildArguments(random, fixture, field.args, (arg, value) => {
      const name = `v${declared.length}`;
      declared.push(`$${name}: ${random.isTrue(0.98) ? arg.type : 'Int'}`);
      variables[name] = value;
      return `$${name}`;
    });
    return `${random.isTrue(0.2) ? 'a: ' : ''}${field.name}${given}${buildSelection(random, schema, field.type, 3)}`;
  });
  const operation = random.pick(['query', 'mutation', 'subscription']);
  const kind = random.isTrue(0.97) ? root.name.toLowerCase() : operation;
  const declaration = declared.length > 0 ? `(${declared.join(', ')})` : '';
  return `${kind} Fuzz${declaration} { ${selections.join(' ')} }`;
}

function buildArguments(
  random: Random,
  fixture: Fixture,
  args: readonly GraphQLArgument[],
  asVariable: (arg: GraphQLArgument, value: unknown) => string,
): string {
  const chosen = args.filter(({ type }) => random.isTrue(type === getNullableType(type) ? 0.3 : 0.97));
  const given = chosen.map((arg) => {
    const value = someValue(random, fixture, arg.type, arg);
    return `${arg.name}: ${random.isTrue(0.6) ? asVariable(arg, value) : toLiteral(value)}`;
  });
  return given.length > 0 ? `(${given.join(', ')})` : '';
}

/** A value of a type, or occasionally of another type. */
function someValue(
  random: Random,
  fixture: Fixture,
  type: GraphQLInputType,
  place: GraphQLArgument | GraphQLInputField,
): unknown {
  if (random.isTrue(0.03)) return json(random, fixture, 2);
  const plain = getNullableType(type);
  if (isListType(plain)) return random.list(5, () => someValue(random, fixture, plain.ofType, place));
  if (isEnumType(plain)) return new EnumName(random.pick(plain.getValues()).name);
  if (isInputObjectType(plain)) {
    const fields = Object.values(plain.getFields()).filter((field) =>
      random.isTrue(field.type === getNullableType(field.type) ? 0.3 : 0.97),
    );
    return Object.fromEntries(
      fields.map((field) => [field.name, someValue(random, fixture, field.type, field)]),
    );
  }
  switch (`${plain}`) {
    case 'Secret':
      return token(random, fixture);
    case 'UUID':
      if (place.name === 'projectId' && random.isTrue(0.7)) return fixture.projectId;
      return random.isTrue(0.9) ? random.pick(fixture.ids) : text(random, fixture);
    case 'Boolean':
      return random.isTrue(0.5);
    case 'Int':
      return random.pick([1, 2, 5, 20, 100, 0, -1, 2 ** 31, 1.5]);
    case 'DateTime':
      return random.isTrue(0.6)
        ? new Date(random.below(2 ** 31) * 1_000).toISOString()
        : text(random, fixture);
    default:
      if (place.name === 'instanceUrl') return url(random, fixture);
      if (place.name === 'name' && random.isTrue(0.8)) return `fuzz-${random.below(1_000)}`;
      return text(random, fixture);
  }
}

/** The name of an enum value, which has no quotes in a document and quotes in JSON. */
export class EnumName {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  toJSON(): string {
    return this.name;
  }
}

export function toLiteral(value: unknown): string {
  if (value instanceof EnumName) return value.name;
  if (Array.isArray(value)) return `[${value.map(toLiteral).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, each]) => `${name}: ${toLiteral(each)}`)
    .join(', ')}}`;
}

function buildSelection(
  random: Random,
  schema: GraphQLSchema,
  type: GraphQLOutputType,
  depth: number,
): string {
  const named = getNamedType(type);
  if (isAbstractType(named)) {
    const parts = schema
      .getPossibleTypes(named)
      .map((each) => `... on ${each.name}${buildSelection(random, schema, each, depth - 1)}`);
    return ` { __typename ${parts.join(' ')} }`;
  }
  if (!isObjectType(named)) return '';
  const fields = depth > 0 ? random.some(Object.values(named.getFields()), 0.5) : [];
  return ` { __typename ${fields.map((field) => `${field.name}${buildSelection(random, schema, field.type, depth - 1)}`).join(' ')} }`;
}
