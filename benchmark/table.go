package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes a row as a table for terminals.
func (r *row) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s  (%s)\n", r.Title, r.Name)
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  target\trate/s\tp50 ms\tp99 ms\tcpu s/1000\tcpu s/GiB\tMinIO s/1000\tpeak MiB\tallocs\tup req\tup bytes\tto proxy\tto self\tto direct\tcpu to proxy\tp50 to proxy")
	for _, c := range r.Cells {
		up := upstreamCost{}
		if c.Upstream != nil {
			up = *c.Upstream
		}
		fmt.Fprintf(t, "  %s\t%s\t%.2f\t%.2f\t%.3f\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Target, figure(c.Rate.Median), c.P50, c.P99, c.CPU,
			orDash(c.PerGiB, 2), orDash(c.Back, 3), c.Peak/mib, orDash(max(0, c.Allocs), 0), orDash(up.Requests, 2), orDash(up.Bytes, 2),
			ratioText(c.Ratios["proxy"]), ratioText(c.Ratios[self(c.Target)]), ratioText(c.Ratios["direct"]),
			ratioText(c.CPURatios["proxy"]), ratioText(c.P50Ratios["proxy"]))
	}
	_ = t.Flush()
	for _, c := range r.Cells {
		old := "old-" + suffix(c.Target)
		if to, ok := c.Ratios[old]; ok && strings.HasPrefix(c.Target, "seal-") {
			fmt.Fprintf(w, "  %s to %s: rate %s, processor time %s, p50 %s\n", c.Target, old, ratioText(to), ratioText(c.CPURatios[old]), ratioText(c.P50Ratios[old]))
		}
	}
}

// self names the target that a user would pick instead: MinIO encrypting the same way.
func self(target string) string {
	if suffix(target) == "kms" {
		return "self-kms"
	}
	return "self-s3"
}

func suffix(target string) string {
	_, after, _ := strings.Cut(target, "-")
	return after
}

// figure writes a number with three digits that count.
func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// orDash writes a number with so many decimals, a dash for 0, which is "not known".
func orDash(v float64, decimals int) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf("%.*f", decimals, v)
}

// ratioText writes the middle of a ratio and, in brackets, what it was at least and
// at most.
func ratioText(s spread) string {
	if s == (spread{}) {
		return "–"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Min, s.Max)
}

// printVerdicts writes goals and bounds as a table for terminals.
func printVerdicts(w io.Writer, all []verdict) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w, "\nGoals")
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
	for _, v := range all {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", v.What, v.Target, v.Goal, v.Value, v.met())
	}
	_ = t.Flush()
}
