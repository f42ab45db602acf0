import { GraphQLError, GraphQLScalarType, Kind } from 'graphql';
import { Secret } from '../secrets/secret.ts';

/**
 * Text that goes in and never comes out. A resolver gets a `Secret`; there is no way to answer with one.
 * Its errors say nothing of the value.
 */
export const SecretScalar = new GraphQLScalarType<Secret, never>({
  name: 'Secret',
  description:
    'Text that goes in and never comes out: an API token, a password. Send it as a variable rather than as part ' +
    'of the document, so that it stays out of the histories and logs of your own tools.',
  serialize() {
    throw new TypeError('A secret cannot be part of an answer.');
  },
  parseValue(value) {
    if (typeof value !== 'string') throw new GraphQLError('A secret is a string.');
    return new Secret(value);
  },
  parseLiteral(node) {
    if (node.kind !== Kind.STRING) throw new GraphQLError('A secret is a string.', { nodes: node });
    return new Secret(node.value);
  },
});
