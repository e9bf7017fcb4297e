import { describe, expect, it } from 'vitest';
import { toolDefinitions } from './registry.js';

describe('the tools as offered', () => {
  it('are these, in this order', () => {
    const names = ['read_file', 'search', 'list_dir', 'str_replace', 'write_file', 'run', 'submit', 'decline'];
    expect(toolDefinitions.map(({ name }) => name)).toEqual(names);
  });

  it('are flat, require what they need, and hold no bound that a grammar would choke on', () => {
    for (const { parameters } of toolDefinitions) {
      const fields = Object.values(parameters['properties'] as Record<string, Record<string, unknown>>);
      expect(fields.length).toBeLessThanOrEqual(5);
      for (const { type } of fields) expect(['string', 'integer']).toContain(type);
    }
    expect(toolDefinitions[0]?.parameters['required']).toEqual(['path']);
    expect(JSON.stringify(toolDefinitions)).not.toMatch(/Length|9007199254740991/);
  });
});
