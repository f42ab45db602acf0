import type { FragmentOf, ResultOf } from 'gql.tada';
import { graphql } from '../graphql.ts';
import { connectionFields } from '../operations.ts';

const policyFields = graphql(`
  fragment Policy on UsePolicy @_unmask {
    version
    preset
    rules { effect methods path }
  }
`);

/** The use policy of a connection. */
export type Policy = FragmentOf<typeof policyFields>;
/** A rule of a use policy. */
export type Rule = Policy['rules'][number];
/** An HTTP method of a request through a connection. */
export type Method = NonNullable<Rule['methods']>[number];

export const connectionQuery = graphql(
  `
    query Connection($id: UUID!) {
      appConnection(id: $id) {
        ...Connection
        createdAt
        lastUsedAt
        lastUsedBy { keyId name subject }
        usePolicy { ...Policy }
      }
    }
  `,
  [connectionFields, policyFields],
);

/** A connection with everything that its page shows. */
export type DetailedConnection = NonNullable<ResultOf<typeof connectionQuery>['appConnection']>;

export const updatePolicyMutation = graphql(
  `
    mutation UpdatePolicy($id: UUID!, $input: UpdateUsePolicyInput!) {
      outcome: updateUsePolicy(connectionId: $id, input: $input) {
        usePolicy { ...Policy }
      }
    }
  `,
  [policyFields],
);

export const testPolicyQuery = graphql(`
  query TestPolicy($id: UUID!, $method: UseMethod!, $path: String!, $policy: UsePolicyInput) {
    testUsePolicy(connectionId: $id, method: $method, path: $path, policy: $policy) {
      isAllowed
      path
      rulePosition
      explanation
    }
  }
`);

/** Written for Okta, so that it is checked against the schema; `buildExecuteMutation` adapts it to other apps. */
export const executeMutation = graphql(`
  mutation Execute($input: ExecuteOktaRequestInput!) {
    outcome: executeOktaRequest(input: $input) {
      status
      headers { name value }
      body
      truncated
      rateLimit { limit remaining resetAt }
      nextPath
    }
  }
`);

/** A response of the app. */
export type AppResponse = NonNullable<ResultOf<typeof executeMutation>['outcome']>;

export const usageQuery = graphql(`
  query Usage($id: UUID!, $from: DateTime, $by: UsageInterval!) {
    appConnection(id: $id) {
      usage(from: $from, by: $by) {
        total {
          calls
          p50Ms
          p99Ms
          bytesUp
          bytesDown
          outcomes { outcome calls }
        }
        buckets {
          start
          counts {
            calls
            p50Ms
            p99Ms
            statusClasses { statusClass calls }
          }
        }
        callers {
          caller { keyId name subject }
          calls
          failedCalls
        }
      }
    }
  }
`);

/** The usage of a connection in a range. */
export type Usage = NonNullable<ResultOf<typeof usageQuery>['appConnection']>['usage'];
