package proxy

import (
	"errors"
	"strconv"

	"github.com/bucketseal/bucketseal/proxy/vault"
)

// uploadError returns what a client sees of an error of the engine's about an upload or
// a part that has values in its text.
func uploadError(err error) (*apiError, bool) {
	var checksum *vault.PartChecksumError
	var source *vault.SourceRangeError
	var request *vault.RequestError
	switch {
	case errors.As(err, &checksum):
		return argumentsError(checksum.Name, checksum), true
	case errors.As(err, &source):
		return &apiError{400, invalidArgument, "Range specified is not valid for source object of size: " + strconv.FormatInt(source.Size, 10), nil}, true
	case errors.As(err, &request):
		return &apiError{400, invalidRequest, request.Reason, nil}, true
	}
	return nil, false
}
