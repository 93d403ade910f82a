//! What is wrong with a scenario file, shown where it is wrong.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};

/// A problem at a place of the text that is being read; [`Diagnostic`] once the text itself is attached.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// Bytes of the text.
    pub(super) span: Range<usize>,
    /// What is wrong.
    pub(super) message: String,
    /// What is allowed, shown at the caret.
    pub(super) label: String,
    /// The nearest valid name, or how it is written.
    pub(super) help: Option<String>,
}

impl Problem {
    /// A problem without help.
    pub(super) fn new(span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Problem {
        Problem { span, message: message.into(), label: label.into(), help: None }
    }

    /// With a hint.
    pub(super) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// Why a scenario cannot be run: file, line, column, the line itself, what is allowed. Shown by `Display` without colours.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    file: String,
    text: String,
    problem: Box<Problem>,
}

impl Diagnostic {
    pub(super) fn new(file: &str, text: &str, problem: Problem) -> Diagnostic {
        Diagnostic { file: file.to_owned(), text: text.to_owned(), problem: Box::new(problem) }
    }

    /// A problem with the file as a whole.
    pub(super) fn of_file(file: &str, message: String) -> Diagnostic {
        Diagnostic::new(file, "", Problem::new(0..0, message, ""))
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.problem.message
    }

    /// Line and column, both from 1; the column counts characters.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.text[..self.clipped().start];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// As text for people: coloured for a terminal, plain for anything else.
    #[must_use]
    pub fn render(&self, coloured: bool) -> String {
        let problem = &self.problem;
        let title = Level::ERROR.primary_title(&problem.message);
        let mut group = if self.text.is_empty() {
            title.element(annotate_snippets::Origin::path(&self.file))
        } else {
            let caret = AnnotationKind::Primary.span(self.clipped());
            let caret = if problem.label.is_empty() { caret } else { caret.label(&problem.label) };
            title.element(Snippet::source(&self.text).path(&self.file).annotation(caret))
        };
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }

    /// The span within its first line: a caret under a whole table says nothing.
    fn clipped(&self) -> Range<usize> {
        let text = &self.text;
        let mut start = self.problem.span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let line_end = text[start..].find(['\n', '\r']).map_or(text.len(), |i| start + i);
        let mut end = self.problem.span.end.clamp(start, line_end);
        while !text.is_char_boundary(end) {
            end += 1;
        }
        start..end
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostic {}

/// "did you mean `x`?", where a valid name is near enough to be meant.
pub(crate) fn did_you_mean<'n>(wrong: &str, valid: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let wrong = wrong.to_lowercase();
    let (distance, name) = valid
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong, &name.to_lowercase()), name))
        .min_by_key(|(distance, _)| *distance)?;
    // A third of the letters: `heartbeat_intervall` and `crsh` are typing errors, `foo` is not.
    let most = (name.chars().count().max(wrong.chars().count()) / 3).max(1);
    (distance <= most).then(|| format!("did you mean `{name}`?"))
}

/// `a`, `b`, `c`
pub(super) fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
