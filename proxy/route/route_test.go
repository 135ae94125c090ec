package route

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
)

func TestRowsThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		row     Row[func()]
		handled bool
		ok      bool
	}{
		{Row[func()]{Op: "translated"}, true, true},
		{Row[func()]{Op: "translated without handler"}, false, false},
		{Row[func()]{Op: "translated with reason", Why: "x"}, true, false},
		{Row[func()]{Op: "forwarded", Action: Forward}, false, true},
		{Row[func()]{Op: "forwarded with handler", Action: Forward}, true, false},
		{Row[func()]{Op: "forwarded with reason", Action: Forward, Why: "x"}, false, false},
		{Row[func()]{Op: "refused", Action: Refuse, Why: "x"}, false, true},
		{Row[func()]{Op: "refused without reason", Action: Refuse}, false, false},
		{Row[func()]{Op: "refused with handler", Action: Refuse, Why: "x"}, true, false},
	} {
		if err := tt.row.Check(tt.handled); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.row.Op, err)
		}
	}
}

func TestWhatIntakeIsToldOfARow(t *testing.T) {
	t.Parallel()
	row := Row[func()]{Op: "PutX", Scope: Bucket, Action: Forward, Body: 7, Headers: []string{"X-A"}}
	admin := Row[func()]{Op: "PutY", Scope: Admin, Action: Forward, Body: 7}
	for _, r := range []*Row[func()]{&row, &admin} {
		if err := r.Check(false); err != nil {
			t.Fatal(err)
		}
		got := r.Route()
		if got.Op != r.Op || got.Body != r.Body || len(got.Headers) != len(r.Headers) || got.XML != (r.Scope != Admin) {
			t.Errorf("%s: %+v", r.Op, got)
		}
	}
}

func TestWhichRequestsMatch(t *testing.T) {
	t.Parallel()
	row := &Row[func()]{Sub: []string{"uploadId", "type=2"}, Header: "X-Amz-Copy-Source"}
	source := http.Header{"X-Amz-Copy-Source": {"/b/k"}}
	for _, tt := range []struct {
		query  string
		header http.Header
		want   bool
	}{
		{"uploadId=u&type=2", source, true},
		{"uploadId&type=2&more", source, true},
		{"uploadId=u&type=2", nil, false},
		{"uploadId=u&type=2", http.Header{"X-Amz-Copy-Source": {""}}, false},
		{"uploadId=u&type=1", source, false},
		{"uploadId=u&type=1&type=2", source, false}, // the first one counts
		{"uploadId=u&type=", source, false},
		{"uploadId=u", source, false},
		{"uploadid=u&type=2", source, false},
	} {
		query, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		if got := row.Matches(query, tt.header); got != tt.want {
			t.Errorf("%s with %v: %v", tt.query, tt.header, got)
		}
	}
	if n := row.Conditions(); n != 3 {
		t.Errorf("%d conditions", n)
	}
}

func TestParametersOfARow(t *testing.T) {
	t.Parallel()
	row := &Row[func()]{Op: "X", Sub: []string{"list-type=2", "acl"}, Params: []string{"prefix"}}
	for query, want := range map[string]error{
		"": nil, "list-type=2&acl&prefix=p": nil, "prefix=": nil,
		"Prefix=p": ErrUnknown, "other=1": ErrUnknown, "=1": ErrUnknown, "list-type%3D2=": ErrUnknown,
		"prefix=p&prefix=p": ErrRepeated, "acl&acl": ErrRepeated,
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if err := row.CheckQuery(values); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%q: %v, want %v", query, err, want)
		}
	}
}

func TestWordsOfActions(t *testing.T) {
	t.Parallel()
	for action, want := range map[Action]string{Translate: "translate", Forward: "forward", Refuse: "refuse"} {
		if action.String() != want {
			t.Errorf("%d is %q", action, action)
		}
	}
}
