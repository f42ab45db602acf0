import type { OAuthClient } from '../../../oauth/oauth.ts';
import type { AppSettings, AuthMethod } from '../../app.ts';
import type { Field } from '../../credentials.ts';
import { serviceAppDetails } from '../details-schema.ts';
import { clientIdSchema } from './client-id.ts';
import { describeLeftKeys } from './key-failure.ts';
import { createServiceAppKeys, keyIdSchema, privateKeySchema, requireOAuth } from './private-key.ts';
import { mayRegisterKeys, registerKeys } from './register-keys.ts';
import { scopesSchema } from './scopes.ts';
import { toTokenClient } from './token-client.ts';
import { createServiceAppUse } from './use.ts';
import { verifyServiceApp } from './verify.ts';

/** The method of service apps: OAuth 2.0 client credentials with `private_key_jwt` and DPoP, as Okta recommends. */
export function serviceApp({ oauth }: AppSettings, instanceUrl: Field): AuthMethod<OAuthClient> {
  return {
    id: 'service-app',
    label: 'Service app',
    description:
      'An OAuth 2.0 service app, as Okta recommends: it belongs to no person, and has only the scopes and roles that it is ' +
      'given. This server makes and keeps its private key.',
    steps: [
      'In the Okta Admin Console, go to Applications > Applications, click Create App Integration, choose “API Services”, ' +
        'and enter a name.',
      'Copy the client id into this form, name the scopes that are needed, and create the connection. It shows the ' +
        'address of its public key.',
      'In Okta, under General > Client Credentials, choose “Public key / Private key” and “Use a URL to fetch keys ' +
        'dynamically”, and enter that address. Or choose “Save keys in Okta”, and add the public key.',
      'Grant the scopes under “Okta API Scopes”, and assign an admin role under “Admin roles”.',
      'Verify the connection.',
    ],
    setupSteps: [
      'In the Okta Admin Console, go to Applications > Applications. Open the API Services app with the client ID on this page, or ' +
        'create one: click Create App Integration, choose “API Services”, and enter a name.',
      'Under General > Client Credentials, choose “Public key / Private key” and “Use a URL to fetch keys dynamically”, and enter the ' +
        'URL of the public keys below. Or choose “Save keys in Okta”, and add the public key.',
      'Under “Okta API Scopes”, grant the scopes below.',
      'Under “Admin roles”, assign an admin role, such as Read-Only Administrator. Without one, Okta shows the app no data.',
      'Come back to this page. If it asks for the client ID, copy it from General > Client Credentials of the app. Click “Check now”.',
    ],
    fields: {
      instanceUrl,
      clientId: {
        label: 'Client ID',
        kind: 'TEXT',
        schema: clientIdSchema,
        required: true,
        isDeferrable: true,
        placeholder: '0oa1ab2cd3EF4GH5i0d7',
        help:
          'The client id of the service app. If this server makes the key, it can be absent: a setup link asks the Okta ' +
          'administrator for it.',
        whereToFind: 'Under General > Client Credentials of the app.',
      },
      scopes: {
        label: 'Scopes',
        kind: 'LIST',
        schema: scopesSchema,
        required: true,
        placeholder: 'okta.users.read okta.groups.read',
        help: 'The scopes of the access tokens.',
        whereToFind: 'Under “Okta API Scopes” of the app.',
      },
      privateKey: {
        label: 'Private key',
        kind: 'SECRET',
        schema: privateKeySchema(oauth),
        required: false,
        placeholder: 'None: this server makes a key',
        help: 'A private key of your own, as PEM or JWK. Without one, this server makes a key that nobody ever sees.',
        whereToFind: 'It is where you created the key pair: Okta has only its public key.',
      },
      keyId: {
        label: 'Key ID',
        kind: 'TEXT',
        schema: keyIdSchema,
        required: false,
        placeholder: 'The thumbprint of the key',
        help: 'The id of a private key of your own, if it is not the thumbprint of the key.',
        whereToFind: 'Under General > Client Credentials > Public Keys of the app.',
      },
    },
    hasOwnCredentialsType: true,
    managedKeys: {
      ...createServiceAppKeys(oauth),
      client: { field: 'clientId', describeLeft: describeLeftKeys },
      mayRegister: mayRegisterKeys,
      register: (credentials, keys, outbound, signal, session) =>
        registerKeys(requireOAuth(oauth), credentials, keys, { outbound, signal, session }),
    },
    createSession: (credentials) => {
      const tools = requireOAuth(oauth);
      return tools.createClient(toTokenClient(tools, credentials));
    },
    verify: (credentials, outbound, signal, options) =>
      verifyServiceApp(requireOAuth(oauth), credentials, outbound, signal, options),
    details: serviceAppDetails,
    use: createServiceAppUse(oauth),
  };
}
