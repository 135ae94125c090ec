package integration

import (
	"net/http"
	"testing"
	"time"
)

func TestConditionsAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	const none = `"00000000000000000000000000000000"`
	past := time.Now().Add(-48 * time.Hour).UTC().Format(http.TimeFormat)
	for _, m := range allModes() {
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: testData(70_000, 46), header: m.put}).ok().keep("etag", "Etag")
		x.do("head", request{method: http.MethodHead, bucket: bucket, key: m.name, header: m.read}).ok().keep("modified", "Last-Modified")
		future := time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat)
		for name, header := range map[string]map[string]string{
			"match":                      {"If-Match": "{etag}"},
			"match star":                 {"If-Match": "*"},
			"match list":                 {"If-Match": none + ", {etag}"},
			"no match":                   {"If-Match": none},
			"no match list":              {"If-Match": none + `, "x"`},
			"none-match":                 {"If-None-Match": none},
			"none-match fails":           {"If-None-Match": "{etag}"},
			"none-match list fails":      {"If-None-Match": none + ",{etag}"},
			"none-match star":            {"If-None-Match": "*"},
			"modified since past":        {"If-Modified-Since": past},
			"modified since then":        {"If-Modified-Since": "{modified}"},
			"modified since future":      {"If-Modified-Since": future},
			"unmodified since past":      {"If-Unmodified-Since": past},
			"unmodified since then":      {"If-Unmodified-Since": "{modified}"},
			"match, unmodified past":     {"If-Match": "{etag}", "If-Unmodified-Since": past},
			"none-match, modified past":  {"If-None-Match": "{etag}", "If-Modified-Since": past},
			"none-match ok, modified":    {"If-None-Match": none, "If-Modified-Since": future},
			"match and none-match":       {"If-Match": "{etag}", "If-None-Match": "{etag}"},
			"bad date":                   {"If-Modified-Since": "yesterday"},
			"match and a range":          {"If-Match": "{etag}", "Range": "bytes=1-3"},
			"no match and a range":       {"If-Match": none, "Range": "bytes=1-3"},
			"no match and bad range":     {"If-Match": none, "Range": "bytes=99999999-"},
			"none-match and bad range":   {"If-None-Match": "{etag}", "Range": "bytes=99999999-"},
			"if-range holds":             {"If-Range": "{etag}", "Range": "bytes=1-3"},
			"if-range fails":             {"If-Range": none, "Range": "bytes=1-3"},
			"if-range date fails":        {"If-Range": past, "Range": "bytes=1-3"},
			"if-range date holds":        {"If-Range": "{modified}", "Range": "bytes=1-3"},
			"if-range without range":     {"If-Range": none},
			"if-range fails, bad range":  {"If-Range": none, "Range": "bytes=99999999-"},
			"if-range weak":              {"If-Range": "W/{etag}", "Range": "bytes=1-3"},
			"match without quotes":       {"If-Match": "0000"},
			"empty match":                {"If-Match": ""},
			"none-match weak":            {"If-None-Match": "W/{etag}"},
			"match, then modified fails": {"If-Match": "{etag}", "If-Modified-Since": future},
		} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				x.do(method+" if "+name, request{method: method, bucket: bucket, key: m.name, header: join(m.read, header)})
			}
		}
	}
}

func TestConditionalWritesAnswerAsMinIO(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	const none = `"00000000000000000000000000000000"`
	for _, m := range allModes() {
		for name, header := range map[string]map[string]string{
			"match":                {"If-Match": "{etag}"},
			"match star":           {"If-Match": "*"},
			"no match":             {"If-Match": none},
			"match list":           {"If-Match": none + ", {etag}"},
			"none-match":           {"If-None-Match": none},
			"none-match fails":     {"If-None-Match": "{etag}"},
			"none-match star":      {"If-None-Match": "*"},
			"match and none-match": {"If-Match": "{etag}", "If-None-Match": none},
			"both fail":            {"If-Match": none, "If-None-Match": "{etag}"},
		} {
			x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: testData(300, 47), header: m.put}).ok().keep("etag", "Etag")
			x.do("put if "+name, request{method: http.MethodPut, bucket: bucket, key: m.name, body: testData(301, 48), header: join(m.put, header)})
			x.do("head after put if "+name, request{method: http.MethodHead, bucket: bucket, key: m.name, header: m.read})
			x.do("put new if "+name, request{method: http.MethodPut, bucket: bucket, key: m.name + "-new-" + name, body: testData(301, 48), header: join(m.put, header)})
			x.do("copy if destination "+name, copyOf(bucket+"/"+m.name, bucket, m.name+"-copied-"+name, ofSource(m.read), m.put, header))
			x.do("copy again if destination "+name, copyOf(bucket+"/"+m.name, bucket, m.name+"-copied-"+name, ofSource(m.read), m.put, header))
		}
		x.do("put", request{method: http.MethodPut, bucket: bucket, key: m.name, body: testData(300, 47), header: m.put}).ok().keep("etag", "Etag")
		x.do("delete if no match", request{method: http.MethodDelete, bucket: bucket, key: m.name, header: map[string]string{"If-Match": none}})
		x.send(request{method: http.MethodPut, bucket: bucket, key: m.name, body: testData(300, 47), header: m.put})
		x.send(request{method: http.MethodHead, bucket: bucket, key: m.name, header: m.read}).keep("etag", "Etag")
		x.do("delete if match", request{method: http.MethodDelete, bucket: bucket, key: m.name, header: map[string]string{"If-Match": "{etag}"}})
		x.do("delete nothing if match", request{method: http.MethodDelete, bucket: bucket, key: m.name, header: map[string]string{"If-Match": "{etag}"}})
		x.do("delete nothing if star", request{method: http.MethodDelete, bucket: bucket, key: m.name, header: map[string]string{"If-Match": "*"}})
		x.do("list after conditional writes", request{method: http.MethodGet, bucket: bucket, query: "list-type=2"})
	}
}
