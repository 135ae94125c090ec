package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"strings"
)

// series is a target in the chart.
type series struct{ target, label, color string }

var chartSeries = []series{
	{"self-s3", "MinIO itself, SSE-S3", "#b8c4d0"},
	{"seal-s3", "bucketseal, SSE-S3", "#1f6fb2"},
	{"seal-opaque", "bucketseal, SSE-S3 opaque", "#57a0d8"},
	{"self-kms", "MinIO itself, SSE-KMS", "#d8c9b0"},
	{"seal-kms", "bucketseal, SSE-KMS", "#c2701c"},
}

// Sizes of the chart, in pixels.
const (
	chartLabels = 230
	chartScale  = 280 // for a ratio of 1
	chartMost   = 2.0 // longer bars are cut
	chartBar    = 9
	chartGap    = 10
	chartTop    = 64
)

// writeChart stores the chart of a result.
func writeChart(file string, r *result) error {
	var text strings.Builder
	r.chart(&text)
	return os.WriteFile(file, []byte(text.String()), 0o644)
}

// chart draws rates relative to the proxy: a bar for the median, a line from the
// least to the greatest of the rounds.
func (r *result) chart(w io.Writer) {
	var used []series
	for _, s := range chartSeries {
		if len(r.shown(s.target)) > 0 {
			used = append(used, s)
		}
	}
	var rows []*row
	for _, row := range r.Rows {
		if !row.work.secure && row.cell("proxy") != nil {
			rows = append(rows, row)
		}
	}
	const width = chartLabels + chartScale*chartMost + 60
	group := len(used)*chartBar + chartGap
	height := chartTop + len(rows)*group + 24
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" viewBox="0 0 %.0f %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	fmt.Fprintf(w, `<title>Rates relative to a plain reverse proxy over the same MinIO</title>`+"\n"+`<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	x := 10
	for _, s := range used {
		fmt.Fprintf(w, `<rect x="%d" y="12" width="10" height="10" fill="%s"/><text x="%d" y="21">%s</text>`+"\n", x, s.color, x+14, escapeXML(s.label))
		x += 28 + 7*len(s.label)
	}
	for _, tick := range []float64{0, 0.5, 1, 1.5, 2} {
		at := chartLabels + tick*chartScale
		stroke := "#dddddd"
		if tick == 1 {
			stroke = "#444444"
		}
		fmt.Fprintf(w, `<line x1="%.0f" y1="%d" x2="%.0f" y2="%d" stroke="%s"/><text x="%.0f" y="%d" text-anchor="middle">%.1f</text>`+"\n",
			at, chartTop-8, at, height-20, stroke, at, chartTop-14, tick)
	}
	for i, row := range rows {
		y := chartTop + i*group
		fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", chartLabels-8, y+len(used)*chartBar/2+4, escapeXML(row.Title))
		for j, s := range used {
			if c := row.cell(s.target); c != nil {
				bar(w, c.Ratios["proxy"], y+j*chartBar, s.color)
			}
		}
	}
	fmt.Fprint(w, "</svg>\n")
}

// bar draws one ratio with its spread.
func bar(w io.Writer, s spread, y int, color string) {
	end := func(v float64) float64 { return chartLabels + min(v, chartMost)*chartScale }
	fmt.Fprintf(w, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, chartLabels, y, end(s.Median)-chartLabels, chartBar-1, color)
	fmt.Fprintf(w, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#000000" stroke-opacity="0.5"/>`+"\n", end(s.Min), y+chartBar/2, end(s.Max), y+chartBar/2)
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes everything
	return b.String()
}
