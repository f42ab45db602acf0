import { Code } from '@mantine/core';
import type { ComponentProps } from 'react';
import ReactMarkdown, { type Components } from 'react-markdown';
import classes from './markdown.module.css';

/** Other schemes could run scripts, and relative links would lead into the dashboard. */
const allowedScheme = /^(https?:|mailto:)/i;

/** Matches a line with 50 nested quotes or lists. Thousands of levels take seconds to render, or overflow the stack. */
const deepNesting = /^(?:[ \t]*(?:>|(?:[*+-]|\d{1,9}[.)])(?=[ \t]))){50}/m;

/** Below the headings of the page. */
const components: Components = {
  ...{ h1: 'h3', h2: 'h4', h3: 'h5', h4: 'h6', h5: 'h6' },
  a: ({ href, children }: ComponentProps<'a'>) =>
    href ? (
      <a href={href} target="_blank" rel="noopener noreferrer nofollow">
        {children}
      </a>
    ) : (
      children
    ),
  img: ({ alt }: ComponentProps<'img'>) => alt,
};

/**
 * Markdown that others have written, as React elements. HTML in it is shown as text, links lead only to http, https and mailto,
 * and images become their text, so that looking at it tells no server. What is nested too deeply is shown as it is.
 */
export default function Markdown({ text }: { text: string }) {
  if (deepNesting.test(text)) return <Code block>{text}</Code>;
  return (
    <div className={classes.markdown}>
      <ReactMarkdown components={components} urlTransform={(url) => (allowedScheme.test(url) ? url : '')}>
        {text}
      </ReactMarkdown>
    </div>
  );
}
