import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { forwardPageArgs } from '../../graphql/forward-page.ts';
import { withInputPaths } from '../../graphql/input-paths.ts';
import type { Project } from '../../identity/organisation.entity.ts';
import { createProjectSchema, displayName } from '../input-schemas.ts';
import { createProject, listProjects, projectCursor, renameProject } from '../projects.ts';
import type { AdministrationTypes } from './types.ts';

const nameRules = '1 to 64 characters, unique in the organisation.';

/** Defines the operations on projects. */
export function defineProjects(builder: Builder, types: AdministrationTypes): void {
  const { ProjectType } = types;
  const Input = builder.inputType('CreateProjectInput', {
    description: 'The project to create.',
    fields: (t) => ({ name: t.string({ required: true, description: `The name: ${nameRules}` }) }),
    validate: { schema: createProjectSchema },
  });
  const definePayload = (name: string, description: string) =>
    builder.objectRef<{ project: Project }>(name).implement({
      description,
      fields: (t) => ({
        project: t.expose('project', { type: ProjectType, description: 'The project as it is now.' }),
      }),
    });
  const Created = definePayload('CreateProjectPayload', 'The result of a creation.');
  const Renamed = definePayload('RenameProjectPayload', 'The result of renaming.');
  const Page = types.definePage<Project>('ProjectPage', 'A page of projects, by name.', ProjectType);

  builder.mutationFields((t) => ({
    createProject: t.field({
      type: Created,
      nullable: true,
      description: 'Creates a project. Scope: access:admin, not limited to projects or connections.',
      args: { input: t.arg({ type: Input, required: true, description: 'The project to create.' }) },
      resolve: async (_, { input }, context) => ({
        project: await withInputPaths(() =>
          createProject(context.administration, requireCaller(context), input),
        ),
      }),
    }),
    renameProject: t.field({
      type: Renamed,
      nullable: true,
      description:
        'Renames a project. Its id and its connections stay. Scope: access:admin, not limited to projects or connections.',
      args: {
        id: t.arg({ type: 'UUID', required: true, description: 'The id of the project.' }),
        name: t.arg.string({
          required: true,
          description: `The new name: ${nameRules}`,
          validate: { schema: displayName },
        }),
      },
      resolve: async (_, target, context) => ({
        project: await renameProject(context.administration, requireCaller(context), target),
      }),
    }),
  }));
  builder.queryField('projects', (t) =>
    t.field({
      type: Page,
      description: 'The projects that the caller may use, by name. Scope: connections:read or access:admin.',
      args: {
        ...forwardPageArgs(t, projectCursor),
      },
      resolve: (_, args, context) => listProjects(context.administration, requireCaller(context), args),
    }),
  );
}
