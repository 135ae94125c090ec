package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// What stands in the page between these is written anew.
const (
	pageBegin = "<!-- make bench: begin -->\n"
	pageEnd   = "<!-- make bench: end -->\n"
)

// intoPage puts text between the marks of a page.
func intoPage(page, text []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(page, []byte(pageBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(pageEnd))
	if !ok || !ok2 {
		return nil, errors.New("the page does not have the marks of make bench")
	}
	return bytes.Join([][]byte{before, []byte(pageBegin), text, []byte(pageEnd), after}, nil), nil
}

// writePage puts the result's tables into a page that is there.
func writePage(file string, r *result) error {
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	r.markdown(&text)
	if page, err = intoPage(page, text.Bytes()); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, page, 0o644)
}

// markdown writes the result's tables.
func (r *result) markdown(w io.Writer) {
	fmt.Fprintf(w, "\n%s, %d processors (%s), load %s at the start, %s. On it AES-256-GCM costs %.2f\nand MD5 %.2f processor seconds for a GiB.\n",
		r.Began.Format("2 January 2006"), r.Machine.Processors, r.Machine.CPU, r.Machine.Load, r.Machine.Go, r.Floor.GCM, r.Floor.MD5)
	fmt.Fprint(w, "\n![Rates relative to a plain proxy](performance.svg)\n")
	r.goalTable(w)
	r.rateTable(w)
	r.latencyTable(w)
	r.costTable(w)
	fmt.Fprintln(w)
}

func (r *result) goalTable(w io.Writer) {
	fmt.Fprint(w, "\n### Goals\n\n| Work | Target | Goal | Value | |\n|---|---|---|---|---|\n")
	for _, v := range append(append([]verdict{}, r.Goals...), r.Bounds...) {
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", v.What, v.Target, strings.NewReplacer("<=", "≤", ">=", "≥").Replace(v.Goal), v.Value, v.met())
	}
}

// shown are the targets of the tables, in their order, those that were measured.
func (r *result) shown(names ...string) []string {
	var all []string
	for _, name := range names {
		for _, row := range r.Rows {
			if row.cell(name) != nil {
				all = append(all, name)
				break
			}
		}
	}
	return all
}

// table writes one line for each work and one column for each target.
func (r *result) table(w io.Writer, title string, targets []string, write func(row *row, c *cell) string) {
	fmt.Fprintf(w, "\n### %s\n\n| Work | %s |\n|---|%s\n", title, strings.Join(targets, " | "), strings.Repeat("---:|", len(targets)))
	for _, row := range r.Rows {
		cells := make([]string, len(targets))
		for i, name := range targets {
			cells[i] = "–"
			if c := row.cell(name); c != nil {
				cells[i] = write(row, c)
			}
		}
		fmt.Fprintf(w, "| %s | %s |\n", row.Title, strings.Join(cells, " | "))
	}
}

func (r *result) rateTable(w io.Writer) {
	targets := r.shown("proxy", "direct", "self-s3", "seal-s3", "seal-opaque", "self-kms", "seal-kms")
	r.table(w, "Rates: the proxy's a second, the others' relative to it", targets, func(_ *row, c *cell) string {
		if c.Target == "proxy" {
			return figure(c.Rate.Median)
		}
		return ratioText(c.Ratios["proxy"])
	})
}

func (r *result) latencyTable(w io.Writer) {
	targets := r.shown("direct", "proxy", "self-s3", "seal-s3", "seal-opaque", "self-kms", "seal-kms")
	r.table(w, "Latency, p50 / p99 in ms", targets, func(_ *row, c *cell) string { return figure(c.P50) + " / " + figure(c.P99) })
}

// costTable has what the hops cost; of MinIO behind them, what the work itself costs.
func (r *result) costTable(w io.Writer) {
	targets := r.shown("proxy", "seal-s3", "seal-opaque", "seal-kms")
	r.table(w, "The hop: processor seconds for 1,000 requests; for a GiB; MinIO's behind it for 1,000", targets, func(_ *row, c *cell) string {
		return fmt.Sprintf("%s; %s; %s", figure(c.CPU), orDash(c.PerGiB, 2), figure(c.Back))
	})
	r.table(w, "The hop: peak memory in MiB; allocations a request; requests upstream for each, bytes upstream for each byte", targets, func(_ *row, c *cell) string {
		up := "–, –"
		if c.Upstream != nil {
			up = fmt.Sprintf("%.2f, %.2f", c.Upstream.Requests, c.Upstream.Bytes)
		}
		return fmt.Sprintf("%s; %s; %s", orDash(float64(c.Peak)/mib, 0), orDash(max(0, c.Allocs), 0), up)
	})
}
