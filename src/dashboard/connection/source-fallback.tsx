import { Code } from '@mantine/core';
import { Component, type ReactNode } from 'react';

interface SourceFallbackProps {
  /** The text that `children` renders. Give it as `key` too, so that another text is rendered again. */
  source: string;
  children: ReactNode;
}

/** Shows a text as it is if it cannot be rendered, so that the rest of the page is not lost with it. */
export class SourceFallback extends Component<SourceFallbackProps, { hasFailed: boolean }> {
  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  override state = { hasFailed: false };

  override render() {
    const { source, children } = this.props;
    return this.state.hasFailed ? <Code block>{source}</Code> : children;
  }
}
