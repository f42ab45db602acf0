import { GraphQLError, GraphQLScalarType, Kind } from 'graphql';
import { isoTimestamp } from '../common/date-time.ts';
import { Secret } from '../common/secret.ts';

/** An input-only scalar. Resolvers get a `Secret`. Its errors never quote the value. */
export const SecretScalar = new GraphQLScalarType<Secret, never>({
  name: 'Secret',
  description:
    'A secret, such as an API token or a password. It is accepted as input and never returned. Send it as a variable and ' +
    'not in the document, so that it does not appear in the history and logs of your own tools.',
  serialize() {
    throw new TypeError('A secret cannot be returned.');
  },
  parseValue(value) {
    if (typeof value !== 'string') throw new GraphQLError('A secret must be a string.');
    return new Secret(value);
  },
  parseLiteral(node) {
    if (node.kind !== Kind.STRING) throw new GraphQLError('A secret must be a string.', { nodes: node });
    return new Secret(node.value);
  },
});

/** An output-only scalar for any JSON value. */
export const JsonScalar = new GraphQLScalarType<never, unknown>({
  name: 'JSON',
  description: 'Any JSON value, of a response of an app. It is returned and never accepted as input.',
  serialize: (value) => value,
  parseValue() {
    throw new GraphQLError('JSON is not accepted as input.');
  },
});

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** A UUID in lower case, as PostgreSQL returns it. */
export const UuidScalar = new GraphQLScalarType<string, string>({
  name: 'UUID',
  serialize: String,
  parseValue: parseUuid,
  parseLiteral: (node) => parseUuid(node.kind === Kind.STRING ? node.value : undefined),
});

/** A time. It is serialized to a string, because to write a string as JSON takes half the time of a `Date`. */
export const DateTimeScalar = new GraphQLScalarType<Date, string>({
  name: 'DateTime',
  serialize: (value) => {
    // Times of apps are texts of this form already.
    if (typeof value === 'string' && utcWithMilliseconds.test(value)) return value;
    const date = value instanceof Date ? value : new Date(String(value));
    const time = date.getTime();
    if (time !== last.time) last = { time, text: date.toISOString() };
    return last.text;
  },
  parseValue: parseDateTime,
  parseLiteral: (node) => parseDateTime(node.kind === Kind.STRING ? node.value : undefined),
});

const utcWithMilliseconds = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** Cached, because the times of an object are often equal (created, updated, verified). */
let last = { time: Number.NaN, text: '' };

function parseDateTime(value: unknown): Date {
  const { success, data } = isoTimestamp.safeParse(value);
  if (success) return new Date(data);
  throw new GraphQLError('The time must be an RFC 3339 timestamp, such as 2007-12-03T10:15:30.125Z.');
}

function parseUuid(value: unknown): string {
  if (typeof value === 'string' && uuidPattern.test(value)) return value.toLowerCase();
  throw new GraphQLError('The id must be a UUID, such as 7ffbb072-2575-495a-b5b0-127f88caef78.');
}
