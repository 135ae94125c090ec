package storage

import (
	"errors"
	"testing"
)

func TestWhatAnAnswerHasAgainstTheProxysOwnCredential(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		answer Error
		want   error
	}{
		{Error{Status: 403, Code: "InvalidAccessKeyId"}, ErrOwnCredential},
		{Error{Status: 403, Code: "SignatureDoesNotMatch"}, ErrOwnCredential},
		{Error{Status: 403, Code: "RequestTimeTooSkewed"}, ErrOwnCredential},
		{Error{Status: 400, Code: "ExpiredToken"}, ErrOwnCredential},
		{Error{Status: 401}, ErrOwnCredential},
		{Error{Status: 403, Code: "AccessDenied"}, ErrOwnRights},
		{Error{Status: 403}, ErrOwnRights},
		{Error{Status: 403, Code: "InvalidObjectState"}, nil},
		{Error{Status: 404, Code: "NoSuchKey"}, nil},
		{Error{Status: 404, Code: "NoSuchBucket"}, nil},
		{Error{Status: 412, Code: "PreconditionFailed"}, nil},
		{Error{Status: 416, Code: "InvalidRange"}, nil},
		{Error{Status: 503, Code: "SlowDown"}, nil},
	} {
		err := refusal(&tt.answer)
		var answer *Error
		if !errors.As(err, &answer) || answer != &tt.answer {
			t.Errorf("%v has lost the answer", err)
		}
		if OwnRefused(err) != (tt.want != nil) || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%v means %v", &tt.answer, err)
		}
		if tt.want == nil && err != error(&tt.answer) {
			t.Errorf("%v becomes %v", &tt.answer, err)
		}
	}
	if err := refusal(ErrUnreachable); err != ErrUnreachable { //nolint:errorlint // it is the same
		t.Errorf("no answer becomes %v", err)
	}
}
