%% Erlang: processes, messages, lists, maps, binaries.
-module(work).
-export([main/0]).

main() ->
    io:format("~p~n", [ring(200, 300)]),
    io:format("~p~n", [length(queens(7))]),
    io:format("~p~n", [lists:sum(maps:values(words(100000)))]),
    io:format("~p~n", [erlang:crc32(text(100000, <<>>))]),
    io:format("~p~n", [fib(25)]).

fib(N) when N < 2 -> N;
fib(N) -> fib(N - 1) + fib(N - 2).

%% A token goes round a ring of processes.
ring(Size, Rounds) ->
    Self = self(),
    First = lists:foldl(fun(_, Next) -> spawn(fun() -> node_of(Next) end) end, Self, lists:seq(1, Size)),
    rounds(First, Rounds, 0).

node_of(Next) ->
    receive
        stop -> Next ! stop;
        N -> Next ! N + 1, node_of(Next)
    end.

rounds(First, 0, Sum) ->
    First ! stop,
    receive stop -> Sum end;
rounds(First, Rounds, Sum) ->
    First ! 0,
    receive N -> rounds(First, Rounds - 1, Sum + N) end.

queens(N) -> queens(N, N).
queens(0, _) -> [[]];
queens(Row, N) ->
    [[Q | Others] || Others <- queens(Row - 1, N), Q <- lists:seq(1, N), safe(Q, 1, Others)].

safe(_, _, []) -> true;
safe(Q, D, [O | Rest]) -> Q =/= O andalso abs(Q - O) =/= D andalso safe(Q, D + 1, Rest).

words(Count) -> words(Count, 1, #{}).
words(0, _, Map) -> Map;
words(Count, State, Map) ->
    Next = (State * 1103515245 + 12345) band 16#ffffffff,
    words(Count - 1, Next, maps:update_with((Next bsr 16) rem 1000, fun(V) -> V + 1 end, 1, Map)).

text(0, Binary) -> Binary;
text(N, Binary) -> text(N - 1, <<Binary/binary, (N rem 251)>>).
