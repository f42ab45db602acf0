import { z } from 'zod';
import type { DetailsType } from '../app.ts';
import { text, time } from '../typed-read.ts';

const yesOrNo = (description: string) => z.boolean().nullish().describe(description);

/** The organisation in the details of every method. */
const organisationDetails = z
  .object({ id: z.string().describe('The id of the organisation.'), name: text('The name of the company.') })
  .meta({ title: 'OrganisationDetails', description: 'The Okta organisation of the instance URL.' })
  .nullish();

/** The admin roles in the details of every method. */
const roleDetails = z
  .array(
    z
      .object({
        type: z.string().describe('The type of the role, such as `READ_ONLY_ADMIN`, or `CUSTOM`.'),
        label: text('The name of the role.'),
      })
      .meta({ title: 'AdminRole', description: 'An admin role in Okta.' }),
  )
  .nullish();

/** The clock in the details of every method. */
const clockDetails = z
  .int32()
  .nullish()
  .describe(
    'By how many seconds the clock of Okta is ahead of the clock of this server; negative if it is behind. 0 if they agree.',
  );

/** The details of an API token. */
export const apiTokenDetails: DetailsType = {
  name: 'ApiTokenDetails',
  description:
    'What the last successful verification found out about an API token of Okta. Null is what the token may not read.',
  schema: z.object({
    organisation: organisationDetails.describe('The organisation.'),
    owner: z
      .object({
        id: z.string().describe('The id of the user in Okta.'),
        login: text('The login of the user in Okta; null if it is not an email address of ASCII characters.'),
        status: text('The status of the user in Okta, such as `ACTIVE`.'),
        isActive: yesOrNo(
          'Whether Okta counts the user as active: `ACTIVE`, `LOCKED_OUT`, `PASSWORD_EXPIRED` or `RECOVERY`. The token ends when its owner is deactivated.',
        ),
        roles: roleDetails.describe('The active admin roles of the user. The token has their permissions.'),
      })
      .meta({ title: 'ApiTokenOwnerDetails' })
      .nullish()
      .describe('The Okta user who created the token.'),
    apiTokens: z
      .array(
        z
          .object({
            id: z.string().describe('The id of the token in Okta.'),
            name: text('The name that the owner gave the token.'),
            created: time('The time of creation.'),
            lastUpdated: time('The time of the last use, as Okta stores it.'),
            expiresAt: time('The time at which the token expires if it is not used before.'),
            network: z
              .object({
                connection: text('The condition: `ANYWHERE` or `ZONE`.'),
                include: z.array(z.string()).nullish().describe('The ids of the zones that are included.'),
                exclude: z.array(z.string()).nullish().describe('The ids of the zones that are excluded.'),
              })
              .meta({ title: 'ApiTokenNetwork' })
              .nullish()
              .describe('The networks from which the token can be used.'),
          })
          .meta({ title: 'ApiToken', description: 'An API token, as Okta lists it.' }),
      )
      .nullish()
      .describe(
        'The tokens of the owner that can be the token of the connection: Okta does not say which one it is. If there is ' +
          'one, it is certain.',
      ),
    clockDifferenceSeconds: clockDetails,
  }),
};

/** The details of a service app. */
export const serviceAppDetails: DetailsType = {
  name: 'ServiceAppDetails',
  description:
    'What the last successful verification found out about a service app of Okta. Null is what is unknown.',
  schema: z.object({
    organisation: organisationDetails.describe('The organisation.'),
    scopes: z.array(z.string()).nullish().describe('The granted scopes.'),
    usesDpop: yesOrNo('Whether access tokens are bound to a key (DPoP).'),
    hasAdminRole: yesOrNo('Whether the app has an admin role. Without one, its scopes show it nothing.'),
    roles: roleDetails.describe('The active admin roles of the app, if it has the scope okta.roles.read.'),
    clockDifferenceSeconds: clockDetails,
  }),
};
