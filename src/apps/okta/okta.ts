import type { App, AppSettings } from '../app.ts';
import type { Field } from '../credentials.ts';
import { apiTokenSchema } from './api-token.ts';
import { apiTokenDetails } from './details-schema.ts';
import { forecastApiToken } from './forecast-api-token.ts';
import { instanceUrlSchema } from './instance-url.ts';
import { oktaReads } from './reads/reads.ts';
import { oktaRequests } from './requests.ts';
import { revokeApiToken } from './revoke-api-token.ts';
import { isSameOktaOrganisation } from './same-org.ts';
import { serviceApp } from './service-app/service-app.ts';
import { apiTokenUse } from './use.ts';
import { oktaUsePresets } from './use-presets.ts';
import { verifyApiToken } from './verify.ts';

/** Okta, an identity provider. */
export function okta(settings: AppSettings): App {
  const instanceUrl: Field = {
    label: 'Instance URL',
    kind: 'URL',
    schema: instanceUrlSchema(settings.trustedHosts),
    required: true,
    placeholder: 'https://example.okta.com',
    help: 'The address of your Okta organisation. A custom domain works too.',
    whereToFind: 'The address in the browser when you sign in to Okta, without “-admin” and without a path.',
  };
  return {
    id: 'okta',
    name: 'Okta',
    description: 'Okta, the identity provider: users, groups and applications of an Okta organisation.',
    icon: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Zm0 4.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9Z',
    methods: [
      {
        id: 'api-token',
        label: 'API token',
        description:
          'An API token that an Okta administrator creates. It has the permissions of that administrator and expires ' +
          'after 30 days without use.',
        steps: [
          'Sign in to the Okta Admin Console, go to Security > API > Tokens, and click Create token.',
          'Enter a name that says what the token is for, choose “Any IP” as the network it can be used from, and ' +
            'click Create token again.',
          'Copy the token and paste it into this form. Okta shows it only once; if you lose it, create another.',
        ],
        fields: {
          instanceUrl,
          apiToken: {
            label: 'API token',
            kind: 'SECRET',
            schema: apiTokenSchema,
            required: true,
            placeholder: 'The token that Okta shows once',
            help: 'The token as Okta showed it, without “SSWS”.',
            whereToFind:
              'In the Okta Admin Console, go to Security > API > Tokens and click Create token. Give it a name, ' +
              'choose “Any IP”, click Create token, and copy the token before you close the window.',
          },
        },
        verify: verifyApiToken,
        revoke: revokeApiToken,
        forecast: forecastApiToken,
        details: apiTokenDetails,
        use: apiTokenUse,
      },
      serviceApp(settings, instanceUrl),
    ],
    defaultMethod: 'api-token',
    convertsTo: 'service-app',
    usePresets: oktaUsePresets,
    reads: oktaReads,
    requests: oktaRequests,
    tenantChange: {
      flag: 'allowDifferentOktaOrg',
      description:
        'Whether the new instance URL may belong to a different Okta organisation than the current one.',
      isSameOrganisation: isSameOktaOrganisation,
    },
    account: {
      field: 'tokenOwner',
      type: 'OktaTokenOwner',
      description:
        'The Okta user who created the API token, as Okta described them when the token was verified.',
      fields: {
        id: { description: 'The id of the user in Okta.', required: true },
        login: {
          description:
            'The login of the user in Okta; null if it is not an email address of ASCII characters.',
          required: false,
        },
        status: {
          description: 'The status of the user in Okta, such as `ACTIVE`; null if it is unknown.',
          required: false,
        },
      },
    },
  };
}
