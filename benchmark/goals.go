package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/md5"
	"fmt"
	"time"
)

// goal is what a figure of one work and target shall be.
type goal struct {
	work, target string
	// figure is one of rate, cpu and p50, as a ratio to the target named by to, or
	// perGiB, processor seconds for a GiB, against those of the proxy.
	figure, to string
	// limit is the least for a rate, the most for all others. Of perGiB it is what
	// may come on top of the proxy's; gcm and md5 say that what these cost may too.
	limit    float64
	gcm, md5 bool
}

// goals are those of the project, all of them.
var goals = []goal{
	{work: "get-4k-16", target: "seal-s3", figure: "rate", to: "proxy", limit: 1},
	{work: "get-4k-16", target: "seal-kms", figure: "rate", to: "proxy", limit: 1},
	{work: "get-4k-16", target: "seal-s3", figure: "cpu", to: "proxy", limit: 1.15},
	{work: "get-4k-16", target: "seal-kms", figure: "cpu", to: "proxy", limit: 1.15},
	{work: "get-4k-1", target: "seal-s3", figure: "p50", to: "proxy", limit: 1.1},
	{work: "get-4k-1", target: "seal-kms", figure: "p50", to: "proxy", limit: 1.1},
	{work: "head-4k-16", target: "seal-s3", figure: "rate", to: "proxy", limit: 1},
	{work: "head-4k-16", target: "seal-kms", figure: "rate", to: "proxy", limit: 1},
	{work: "put-4k-16", target: "seal-s3", figure: "rate", to: "proxy", limit: 1},
	{work: "put-4k-16", target: "seal-kms", figure: "rate", to: "proxy", limit: 1},
	{work: "put-4k-16", target: "seal-s3", figure: "cpu", to: "proxy", limit: 1.2},
	{work: "put-4k-16", target: "seal-kms", figure: "cpu", to: "proxy", limit: 1.2},
	// A required audit log costs at most a tenth of small requests, one that is not, next to nothing.
	{work: "get-4k-16", target: "seal-audited", figure: "rate", to: "seal-s3", limit: 0.9},
	{work: "put-4k-16", target: "seal-audited", figure: "rate", to: "seal-s3", limit: 0.9},
	{work: "get-4k-16", target: "seal-noted", figure: "rate", to: "seal-s3", limit: 0.95},
	{work: "put-4k-16", target: "seal-noted", figure: "rate", to: "seal-s3", limit: 0.95},
	{work: "put-1m-16", target: "seal-s3", figure: "rate", to: "self-s3", limit: 1},
	{work: "put-1m-16", target: "seal-kms", figure: "rate", to: "proxy", limit: 1},
	{work: "put-1m-16", target: "seal-opaque", figure: "rate", to: "proxy", limit: 1},
	{work: "put-1m-16", target: "seal-s3", figure: "perGiB", gcm: true, md5: true},
	{work: "put-1m-16", target: "seal-kms", figure: "perGiB", gcm: true},
	{work: "put-1m-16", target: "seal-opaque", figure: "perGiB", gcm: true},
	{work: "get-1m-16", target: "seal-s3", figure: "rate", to: "proxy", limit: 1},
	{work: "get-1m-16", target: "seal-kms", figure: "rate", to: "proxy", limit: 1},
	{work: "get-64m-1", target: "seal-s3", figure: "rate", to: "proxy", limit: 1},
	{work: "get-64m-1", target: "seal-kms", figure: "rate", to: "proxy", limit: 1},
	{work: "get-64m-1", target: "seal-s3", figure: "rate", to: "self-s3", limit: 0.8},
	{work: "get-64m-1", target: "seal-kms", figure: "rate", to: "self-kms", limit: 0.8},
	{work: "put-64m-1", target: "seal-s3", figure: "rate", to: "self-s3", limit: 0.95},
	{work: "put-64m-1", target: "seal-kms", figure: "rate", to: "proxy", limit: 1},
	{work: "range-64m-16", target: "seal-s3", figure: "rate", to: "proxy", limit: 1},
	{work: "range-64m-16", target: "seal-kms", figure: "rate", to: "proxy", limit: 1},
	{work: "range-64m-16", target: "seal-s3", figure: "perGiB", limit: 0.25},
	{work: "range-64m-16", target: "seal-kms", figure: "perGiB", limit: 0.25},
	{work: "list-1", target: "seal-s3", figure: "rate", to: "self-s3", limit: 0.9},
	{work: "list-1", target: "seal-kms", figure: "rate", to: "self-kms", limit: 0.9},
	{work: "list-cold-1", target: "seal-s3", figure: "rate", to: "self-s3", limit: 0.6},
	{work: "list-cold-1", target: "seal-kms", figure: "rate", to: "self-kms", limit: 0.6},
	{work: "copy-64m-1", target: "seal-s3", figure: "rate", to: "proxy", limit: 0.95},
	{work: "copy-64m-1", target: "seal-kms", figure: "rate", to: "proxy", limit: 0.95},
}

// verdict is a goal, or a bound, with what came out.
type verdict struct {
	What   string `json:"what"`
	Target string `json:"target"`
	Goal   string `json:"goal"`
	Value  string `json:"value"`
	Met    bool   `json:"met"`
}

func (v verdict) met() string {
	if v.Met {
		return "met"
	}
	return "not met"
}

// floor is what must be computed of each byte, in processor seconds for a GiB.
type floor struct {
	GCM float64 `json:"aes_256_gcm"`
	MD5 float64 `json:"md5"`
}

// measureFloor takes the best of some short runs.
func measureFloor() floor {
	const packageSize, size, runs = 64 * kib, 32 * mib, 5
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	out, nonce := make([]byte, 0, packageSize+16), make([]byte, 12)
	best := func(f func(data []byte)) float64 {
		least := time.Duration(1<<63 - 1)
		for range runs {
			began := time.Now()
			for at := 0; at < size; at += packageSize {
				f(content()[at : at+packageSize])
			}
			least = min(least, time.Since(began))
		}
		return least.Seconds() * gib / size
	}
	h := md5.New()
	return floor{
		GCM: best(func(data []byte) { aead.Seal(out, nonce, data, nil) }),
		MD5: best(func(data []byte) { h.Write(data) }),
	}
}

// judge says what became of each goal whose work and targets were measured.
func judge(rows []*row, f floor) []verdict {
	var all []verdict
	for _, g := range goals {
		for _, r := range rows {
			if r.Name != g.work {
				continue
			}
			if v, ok := g.judge(r, f); ok {
				all = append(all, v)
			}
		}
	}
	return all
}

func (g goal) judge(r *row, f floor) (v verdict, ok bool) {
	c := r.cell(g.target)
	if c == nil {
		return v, false
	}
	v = verdict{What: r.Title, Target: g.target}
	if g.figure == "perGiB" {
		proxy := r.cell("proxy")
		if proxy == nil {
			return v, false
		}
		limit, text := proxy.PerGiB+g.limit, "proxy's"
		if g.limit > 0 {
			text += fmt.Sprintf(" + %.2f", g.limit)
		}
		if g.gcm {
			limit, text = limit+f.GCM, text+" + AES-GCM"
		}
		if g.md5 {
			limit, text = limit+f.MD5, text+" + MD5"
		}
		v.Goal = fmt.Sprintf("processor s/GiB <= %s = %.2f", text, limit)
		v.Value, v.Met = fmt.Sprintf("%.2f", c.PerGiB), c.PerGiB <= limit
		return v, true
	}
	figures := map[string]struct {
		name, sign string
		of         map[string]spread
	}{"rate": {"rate", ">=", c.Ratios}, "cpu": {"processor time", "<=", c.CPURatios}, "p50": {"p50", "<=", c.P50Ratios}}
	figure := figures[g.figure]
	s, ok := figure.of[g.to]
	if !ok {
		return v, false
	}
	v.Goal = fmt.Sprintf("%s %s %.2f of %s", figure.name, figure.sign, g.limit, g.to)
	v.Value = ratioText(s)
	v.Met = figure.sign == ">=" && s.Median >= g.limit || figure.sign == "<=" && s.Median <= g.limit
	return v, true
}

// cell finds that of a target, nil if it was not measured.
func (r *row) cell(target string) *cell {
	for _, c := range r.Cells {
		if c.Target == target {
			return c
		}
	}
	return nil
}
