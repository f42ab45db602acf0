import { z } from 'zod';
import { type ReadObject, type TypedRead, text, time } from '../../typed-read.ts';
import { filterText, limit, oktaId } from './okta-id.ts';
import { user } from './users.ts';

/** `Group` in Okta's API description. */
export const group: ReadObject = {
  name: 'Group',
  description: 'A group of users of an Okta organisation.',
  schema: z.object({
    id: oktaId.describe('The id.'),
    type: text('The type: `OKTA_GROUP`, `APP_GROUP` (managed by an application) or `BUILT_IN`.'),
    created: time('The time of creation.'),
    lastUpdated: time('The time of the last change of the profile.'),
    lastMembershipUpdated: time('The time of the last change of the members.'),
    profile: z
      .object({ name: text('The name.'), description: text('The description.') })
      .nullish()
      .describe('The attributes of the group.'),
  }),
};

/** Reads of groups, of their members, and of the groups of a user. */
export const groupReads: readonly TypedRead[] = [
  {
    field: 'groups',
    description: 'The groups.',
    path: '/api/v1/groups',
    arguments: {
      search: {
        schema: filterText,
        description:
          'Groups that match this search expression, as of some seconds ago: `profile.name sw "Sales"`.',
      },
      filter: {
        schema: filterText,
        description: 'Groups that match this filter expression, as of now: `type eq "OKTA_GROUP"`.',
      },
    },
    object: group,
    pages: { maxSize: 200, sizeParameter: limit },
  },
  {
    field: 'group',
    description: 'A group; null if Okta has none.',
    path: '/api/v1/groups/{id}',
    arguments: { id: { schema: oktaId, description: 'The id.' } },
    object: group,
  },
  {
    parent: group,
    field: 'members',
    description: 'The members of the group.',
    path: '/api/v1/groups/{id}/users',
    object: user,
    pages: { maxSize: 200, sizeParameter: limit },
  },
  {
    parent: user,
    field: 'groups',
    description: 'The groups of the user. Okta returns all of them at once.',
    path: '/api/v1/users/{id}/groups',
    object: group,
    pages: { maxSize: 200 },
  },
];
