package deletion

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestRequestsAreReadAsMinIOReadsThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]*Request{
		`<Delete><Object><Key>a</Key></Object></Delete>`: {Objects: []Object{{Key: "a"}}},
		`<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet><Object><Key>a &amp; b</Key><VersionId>v</VersionId></Object><Object><Key>e&#x9;f</Key></Object></Delete>`: {Quiet: true, Objects: []Object{{Key: "a & b", Version: "v"}, {Key: "e\tf"}}},
		`<Delete><Object><Key>a</Key><ETag>"x"</ETag></Object></Delete>`:                               {Objects: []Object{{Key: "a", IfMatch: `"x"`}}},
		`<Foo><Object><Key>a</Key><Key>b</Key></Object></Foo>`:                                         {Objects: []Object{{Key: "b"}}},
		`<Delete><Object><Key>a</Key></Object></Delete><Delete><Object><Key>b</Key></Object></Delete>`: {Objects: []Object{{Key: "a"}}},
		`<Delete><Object><key>a</key></Object></Delete>`:                                               {Objects: []Object{{}}},
		`<?xml version="1.0" encoding="latin1"?><Delete><Object><Key>a</Key></Object></Delete>`:        {Objects: []Object{{Key: "a"}}},
	} {
		if got, err := Parse([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	many := func(n int) string {
		return "<Delete>" + strings.Repeat("<Object><Key>a</Key></Object>", n) + "</Delete>"
	}
	if r, err := Parse([]byte(many(MaxObjects))); err != nil || len(r.Objects) != MaxObjects {
		t.Errorf("a thousand: %v", err)
	}
	for text, want := range map[string]error{
		"": ErrMalformed, "<Delete/>": ErrMalformed, many(MaxObjects + 1): ErrMalformed, "<Delete><Object><Key>a</Key></Object>": ErrMalformed,
		"<Delete><Object><Key>a&#x1;</Key></Object></Delete>": ErrMalformed, "<Delete><Quiet>maybe</Quiet><Object><Key>a</Key></Object></Delete>": ErrMalformed,
		"<Delete><Object><Key>a</Key><Size>5</Size></Object></Delete>":                            ErrCondition,
		"<Delete><Object><Key>a</Key><LastModifiedTime>2026</LastModifiedTime></Object></Delete>": ErrCondition,
	} {
		if got, err := Parse([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.60s: %+v, %v", text, got, err)
		}
	}
}

const stored = `<?xml version="1.0" encoding="UTF-8"?>
<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Deleted><Key>a</Key></Deleted><Deleted><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>m</DeleteMarkerVersionId><Key>b</Key></Deleted><Error><Code>AccessDenied</Code><Message>Access Denied.</Message><Key>c</Key><VersionId></VersionId></Error></DeleteResult>`

func TestOutcomesOfAllObjects(t *testing.T) {
	t.Parallel()
	asked := &Request{Objects: []Object{{Key: "a"}, {Key: "b"}, {Key: "c"}}}
	before := []Failure{{Object{Key: "d&", Version: "v"}, "PreconditionFailed", "It <did> not hold."}}
	result, body, err := Merge([]byte(stored), before)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(body), stored[:len(stored)-len(end)]) || strings.Count(string(body), end) != 1 || len(result.Deleted) != 2 || len(result.Failed) != 2 {
		t.Errorf("%s: %+v", body, result)
	}
	want := []Outcome{{"c", "", "AccessDenied"}, {"d&", "v", "PreconditionFailed"}, {"a", "", ""}, {"b", "m", ""}}
	if got := asked.Outcomes(result); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	asked.Quiet = true
	quiet, _, err := Merge([]byte(`<DeleteResult><Error><Key>c</Key><Code>AccessDenied</Code></Error></DeleteResult>`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asked.Outcomes(quiet), []Outcome{{"c", "", "AccessDenied"}, {"a", "", ""}, {"b", "", ""}}; !slices.Equal(got, want) {
		t.Errorf("quiet: %v", got)
	}
	if got, want := asked.Outcomes(nil), []Outcome{{"a", "", ""}, {"b", "", ""}, {"c", "", ""}}; !slices.Equal(got, want) {
		t.Errorf("before: %v", got)
	}
	alone, body, err := Merge(nil, before)
	if err != nil || len(alone.Failed) != 1 || alone.Failed[0] != before[0] || !strings.Contains(string(body), "<Key>d&amp;</Key><VersionId>v</VersionId>") {
		t.Errorf("%+v, %s, %v", alone, body, err)
	}
	for _, bad := range []string{"", "<DeleteResult>", "<DeleteResult><Deleted></DeleteResult>"} {
		if _, _, err := Merge([]byte(bad), nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What is asked for anew is what the client asked for, without its conditions.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`<Delete><Quiet>true</Quiet><Object><Key>a&amp;b</Key><VersionId>v</VersionId><ETag>"x"</ETag></Object></Delete>`))
	f.Add([]byte("<Delete><Object><Key>g\nh&#xD;i</Key></Object><Object/></Delete>"))
	f.Fuzz(func(t *testing.T, document []byte) {
		asked, err := Parse(document)
		if err != nil {
			return
		}
		again, err := Parse(asked.XML())
		if err != nil {
			t.Fatalf("%s: %v", asked.XML(), err)
		}
		for i := range asked.Objects {
			asked.Objects[i].IfMatch = ""
		}
		if !reflect.DeepEqual(asked, again) {
			t.Errorf("%+v, %+v", asked, again)
		}
	})
}
