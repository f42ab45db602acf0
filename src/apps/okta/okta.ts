import type { App, AppSettings } from '../app.ts';
import { apiTokenSchema } from './api-token.ts';
import { instanceUrlSchema } from './instance-url.ts';
import { isSameOktaOrganisation } from './same-org.ts';
import { verifyApiToken } from './verify.ts';

/** Okta, an identity provider. */
export function okta(settings: AppSettings): App {
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
          'An API token that an Okta administrator creates. It may do what that administrator may do, and expires ' +
          'when it is not used for 30 days.',
        steps: [
          'Sign in to the Okta Admin Console, go to Security > API > Tokens, and click Create token.',
          'Give the token a name that says what it is for, choose “Any IP” under where it may be used from, and click ' +
            'Create token again.',
          'Copy the token and paste it into this form. Okta shows it this once; if it is lost, make another.',
        ],
        fields: {
          instanceUrl: {
            label: 'Instance URL',
            kind: 'URL',
            rule: instanceUrlSchema(settings.trustedHosts),
            required: true,
            placeholder: 'https://example.okta.com',
            help: 'The address of your Okta organisation. A custom domain works too.',
            whereToFind:
              'It is what you see in the browser when you sign in to Okta, without “-admin” and without a path.',
          },
          apiToken: {
            label: 'API token',
            kind: 'SECRET',
            rule: apiTokenSchema,
            required: true,
            placeholder: 'The token that Okta shows once',
            help: 'The token as Okta showed it, without “SSWS”.',
            whereToFind:
              'In the Okta Admin Console, go to Security > API > Tokens and click Create token. Give it a name, ' +
              'choose “Any IP”, click Create token, and copy the token before you close the window.',
          },
        },
        verify: verifyApiToken,
      },
    ],
    moving: {
      flag: 'allowDifferentOktaOrg',
      description:
        'Whether the new instance URL may be that of another Okta organisation than the one connected so far.',
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
            'The name the user signs in to Okta with; null if it is not an email address of ASCII characters.',
          required: false,
        },
        status: {
          description:
            'The status of the user in Okta: `ACTIVE`, for one; null if it is not one that is known.',
          required: false,
        },
      },
    },
  };
}
