import { GraphQLError } from 'graphql';

/** An error that the caller sees. Any other error is internal. */
export class Refused extends GraphQLError {
  readonly statusCode: number;

  constructor(statusCode: number, code: string) {
    super(code, { extensions: { code, http: { status: statusCode } } });
    this.statusCode = statusCode;
  }
}
