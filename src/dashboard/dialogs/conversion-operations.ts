import { graphql } from '../graphql.ts';
import { connectionFields } from '../operations.ts';

/** Written for Okta, so that it is checked against the schema; `buildConvertMutation` adapts it to other apps. */
export const convertMutation = graphql(
  `
    mutation Convert(
      $id: UUID!
      $to: ConvertOktaConnectionInput!
      $version: Int
      $revokeOldToken: Boolean
      $acknowledgeUse: Boolean
    ) {
      outcome: convertOktaConnection(
        id: $id
        to: $to
        version: $version
        revokeOldToken: $revokeOldToken
        acknowledgeUse: $acknowledgeUse
      ) {
        appConnection { ...Connection }
      }
    }
  `,
  [connectionFields],
);

export const cancelConversionMutation = graphql(
  `
    mutation CancelConversion($id: UUID!) {
      outcome: cancelAppConnectionConversion(id: $id) {
        appConnection { id version }
      }
    }
  `,
);
