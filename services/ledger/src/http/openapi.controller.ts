import type { ServerResponse } from 'node:http';
import { Controller } from '@nestjs/common';
import { Handles, type Input } from './operation.js';
import { openApiDocument } from './openapi.js';

const text = `${JSON.stringify(openApiDocument())}\n`;

/** The document of the API, for whoever wants to know how to ask. */
@Controller()
export class OpenApiController {
  @Handles('getOpenApi')
  async document(_input: Input<'getOpenApi'>, response: ServerResponse): Promise<void> {
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    response.end(text);
  }
}
