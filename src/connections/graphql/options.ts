import { type App, type AuthMethod, isAlwaysRequired } from '../../apps/app.ts';
import type { Field } from '../../apps/credentials.ts';
import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import type { ConnectionTypes } from './types.ts';

/** Defines `appConnectionOptions`: the apps with everything that a client needs to show a form for them. */
export function defineConnectionOptions(builder: Builder, types: ConnectionTypes): void {
  const { AppEnum } = types;
  const Method = defineMethod(builder, types);
  const Option = builder.objectRef<App>('AppConnectionOption').implement({
    description: 'An app that connections can be made to.',
    fields: (t) => ({
      app: t.field({ type: AppEnum, description: 'The app.', resolve: ({ id }) => id }),
      name: t.exposeString('name', { description: 'The display name.' }),
      description: t.exposeString('description', { description: 'A description.' }),
      icon: t.string({
        nullable: true,
        description:
          'The icon: the path of a 24 by 24 SVG, with the even-odd fill rule. Null if there is none.',
        resolve: ({ icon }) => icon,
      }),
      methods: t.field({
        type: [Method],
        description: 'The methods, the preferred one first.',
        resolve: ({ methods }) => [...methods],
      }),
    }),
  });
  builder.queryField('appConnectionOptions', (t) =>
    t.field({
      type: [Option],
      description: 'The apps, with their methods and fields. Needs no scope.',
      resolve: (_, __, context) => {
        requireCaller(context);
        return [...context.connections.apps];
      },
    }),
  );
}

function defineMethod(builder: Builder, { MethodEnum }: ConnectionTypes) {
  const CredentialsField = defineField(builder);
  return builder.objectRef<AuthMethod>('AppConnectionMethodOption').implement({
    description: 'A method of authentication to an app.',
    fields: (t) => ({
      method: t.field({ type: MethodEnum, description: 'The method.', resolve: ({ id }) => id }),
      label: t.exposeString('label', { description: 'The label.' }),
      description: t.exposeString('description', { description: 'A description.' }),
      steps: t.stringList({
        description: 'The steps by which to get the values in the app. Can be empty.',
        resolve: ({ steps }) => [...(steps ?? [])],
      }),
      fields: t.field({
        type: [CredentialsField],
        description: 'The fields, in the order of a form.',
        resolve: ({ fields }) => Object.entries(fields).map(([name, field]) => ({ ...field, name })),
      }),
    }),
  });
}

function defineField(builder: Builder) {
  const Kind = builder.enumType('AppConnectionFieldKind', {
    description: 'The type of the value of a field.',
    values: {
      TEXT: { description: 'A line of text.' },
      LIST: { description: 'A list of texts without spaces.' },
      URL: { description: 'A URL.' },
      SECRET: { description: 'A line of text that is hidden during input.' },
    },
  });
  return builder.objectRef<Field & { name: string }>('AppConnectionField').implement({
    description: 'A field of the credentials, with what a form needs.',
    fields: (t) => ({
      name: t.exposeString('name', { description: "Its name in the app's `…CredentialsInput`." }),
      label: t.exposeString('label', { description: 'The label.' }),
      kind: t.expose('kind', { type: Kind, description: 'The type of the value.' }),
      required: t.boolean({
        description: 'Whether it is required for a new connection, also if this server makes the key.',
        resolve: isAlwaysRequired,
      }),
      secret: t.boolean({
        description:
          'Whether it is encrypted and never returned. Everyone who may read the connection sees the other fields.',
        resolve: ({ kind }) => kind === 'SECRET',
      }),
      placeholder: t.exposeString('placeholder', { description: 'The placeholder.' }),
      help: t.exposeString('help', { description: 'A help text.' }),
      whereToFind: t.exposeString('whereToFind', { description: 'Where to find the value in the app.' }),
    }),
  });
}
