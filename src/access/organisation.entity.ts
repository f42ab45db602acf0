import { defineEntity, p } from '@mikro-orm/core';

const OrganisationSchema = defineEntity({
  name: 'Organisation',
  tableName: 'organisation',
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    createdAt: p.datetime(3),
  },
});

/** The tenant: nothing is ever shared between two. */
export class Organisation extends OrganisationSchema.class {}
OrganisationSchema.setClass(Organisation);

const ProjectSchema = defineEntity({
  name: 'Project',
  tableName: 'project',
  properties: {
    id: p.uuid().primary(),
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id').index('project_org'),
    name: p.text(),
    createdAt: p.datetime(3),
  },
});

/** A workspace in an organisation. */
export class Project extends ProjectSchema.class {}
ProjectSchema.setClass(Project);
