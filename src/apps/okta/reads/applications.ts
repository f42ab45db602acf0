import { z } from 'zod';
import { type ReadObject, type TypedRead, text, time } from '../../typed-read.ts';
import { group } from './groups.ts';
import { filterText, limit, oktaId } from './okta-id.ts';
import { user } from './users.ts';

/** `Application` in Okta's API description. */
const application: ReadObject = {
  name: 'Application',
  description: 'An application of an Okta organisation, to which users and groups are assigned.',
  schema: z.object({
    id: oktaId.describe('The id.'),
    name: text('The kind of application, such as `oidc_client`.'),
    label: text('The name for display.'),
    status: text('The status: `ACTIVE`, `INACTIVE` or `DELETED`.'),
    signOnMode: text('How users sign in to it, such as `OPENID_CONNECT` or `SAML_2_0`.'),
    features: z.array(z.string()).nullish().describe('The features that are on, such as `PUSH_NEW_USERS`.'),
    created: time('The time of creation.'),
    lastUpdated: time('The time of the last change.'),
  }),
};

/** `AppUser` in Okta's API description. */
const applicationUser: ReadObject = {
  name: 'ApplicationUser',
  description: 'The assignment of a user to an application.',
  schema: z.object({
    id: oktaId.describe('The id of the user.'),
    scope: text('`USER` if the user is assigned, `GROUP` if a group of theirs is.'),
    status: text('The status of the assignment, such as `ACTIVE` or `PROVISIONED`.'),
    syncState: text('Whether the profile is the same in the application, such as `SYNCHRONIZED`.'),
    externalId: text('The id of the user in the application.'),
    credentials: z
      .object({ userName: text('The user name.') })
      .nullish()
      .describe('How the user signs in to the application.'),
    created: time('The time of assignment.'),
    lastUpdated: time('The time of the last change.'),
    statusChanged: time('The time of the last change of the status.'),
    lastSync: time('The time of the last synchronisation with the application.'),
  }),
};

/** `ApplicationGroupAssignment` in Okta's API description. */
const applicationGroup: ReadObject = {
  name: 'ApplicationGroup',
  description: 'The assignment of a group to an application.',
  schema: z.object({
    id: oktaId.describe('The id of the group.'),
    priority: z.int32().nullish().describe('The group with the smallest number sets the profile of a user.'),
    lastUpdated: time('The time of the last change.'),
  }),
};

/** Reads of applications and of what is assigned to them. */
export const applicationReads: readonly TypedRead[] = [
  {
    field: 'applications',
    description: 'The applications.',
    path: '/api/v1/apps',
    arguments: {
      q: { schema: filterText, description: 'Applications whose name or label starts with this text.' },
      filter: {
        schema: filterText,
        description: 'Applications that match this filter expression: `status eq "ACTIVE"`.',
      },
    },
    object: application,
    pages: { maxSize: 200, sizeParameter: limit },
  },
  {
    field: 'application',
    description: 'An application; null if Okta has none.',
    path: '/api/v1/apps/{id}',
    arguments: { id: { schema: oktaId, description: 'The id.' } },
    object: application,
  },
  {
    parent: application,
    field: 'assignedUsers',
    description: 'The users that are assigned to the application, themselves or through a group.',
    path: '/api/v1/apps/{id}/users',
    object: applicationUser,
    pages: { maxSize: 200, sizeParameter: limit },
  },
  {
    parent: application,
    field: 'assignedGroups',
    description: 'The groups that are assigned to the application.',
    path: '/api/v1/apps/{id}/groups',
    object: applicationGroup,
    pages: { maxSize: 200, sizeParameter: { name: 'limit', min: 20 } },
  },
  {
    parent: applicationUser,
    field: 'user',
    description: 'The user.',
    path: '/api/v1/users/{id}',
    object: user,
  },
  {
    parent: applicationGroup,
    field: 'group',
    description: 'The group.',
    path: '/api/v1/groups/{id}',
    object: group,
  },
];
