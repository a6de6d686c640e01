#!/usr/bin/env escript
%%! -noshell
-mode(compile).
%% Terms of a real Erlang, said in JSON so that a test can compare.
%%   erlang-terms.escript <count> <seed>   one line for each random term: {"term": …, "bytes": [hex, …]}
%%   erlang-terms.escript <file>           one line for each term of the file (u32 length, bytes): {"term": …}

main([File]) ->
    {ok, Bytes} = file:read_file(File),
    read_back(Bytes);
main([Count, Seed]) ->
    rand:seed(exsss, list_to_integer(Seed)),
    [write_random() || _ <- lists:seq(1, list_to_integer(Count))].

read_back(<<>>) -> ok;
read_back(<<Length:32, Term:Length/binary, Rest/binary>>) ->
    Said = try say(binary_to_term(Term)) catch _:_ -> "\"refused\"" end,
    put_line(["{\"term\":", Said, "}"]),
    read_back(Rest).

write_random() ->
    Term = term(4),
    Variants = [[], [{minor_version, 0}], [{minor_version, 1}], [{minor_version, 2}], [{compressed, 9}]],
    Bytes = lists:join(",", [["\"", hex(term_to_binary(Term, Options)), "\""] || Options <- Variants]),
    put_line(["{\"term\":", say(Term), ",\"bytes\":[", Bytes, "]}"]).

put_line(Text) -> ok = file:write(standard_io, [Text, "\n"]).

term(0) -> scalar(rand:uniform(17));
term(Depth) ->
    case rand:uniform(12) of
        1 -> list_to_tuple(terms(Depth, rand:uniform(5) - 1));
        2 -> map(Depth, rand:uniform(6) - 1);
        3 -> map(Depth, rand:uniform(6));
        4 -> terms(Depth, rand:uniform(6));
        5 -> terms(Depth, rand:uniform(3)) ++ scalar(rand:uniform(7));
        6 when Depth == 4 -> list_to_tuple(terms(1, 250 + rand:uniform(20)));
        7 when Depth == 4 -> map(1, 30 + rand:uniform(40));
        8 -> [rand:uniform(256) - 1 || _ <- lists:seq(1, rand:uniform(40))];
        _ -> scalar(rand:uniform(17))
    end.

terms(Depth, Count) -> [term(Depth - 1) || _ <- lists:seq(1, Count)].

map(Depth, Count) -> maps:from_list([{key(rand:uniform(3)), term(Depth - 1)} || _ <- lists:seq(1, Count)]).

key(1) -> atom();
key(2) -> text();
key(3) -> rand:uniform(1 bsl 40).

scalar(1) -> rand:uniform(256) - 1;
scalar(2) -> rand:uniform(1 bsl 32) - (1 bsl 31);
scalar(3) -> rand:uniform(1 bsl 54) - (1 bsl 53);
scalar(4) -> rand:uniform(1 bsl 64);
scalar(5) -> -rand:uniform(1 bsl 66);
scalar(6) -> rand:uniform(1 bsl (rand:uniform(2500))) * (2 * rand:uniform(2) - 3);
scalar(7) -> atom();
scalar(8) -> text();
scalar(9) -> random_bytes(rand:uniform(30));
scalar(10) -> (rand:uniform() - 0.5) * math:pow(10, rand:uniform(600) - 300);
scalar(11) -> float(rand:uniform(1 bsl 53));
scalar(12) -> [];
scalar(13) -> <<1, 2, (rand:uniform(31)):5>>;
scalar(14) -> self();
scalar(15) -> make_ref();
scalar(16) -> lists:nth(rand:uniform(3), [fun erlang:abs/1, hd(erlang:ports()), -0.0]);
scalar(17) -> lists:nth(rand:uniform(6), [true, false, nil, null, 9007199254740991, -9007199254740992]).

atom() ->
    Names = ["id", "guild_id", "op", "d", "ünï", "日本", "with space", "", lists:duplicate(255, $a),
             lists:duplicate(255, 16#20AC), "nilly", "__proto__", [0, $x]],
    list_to_atom(lists:nth(rand:uniform(length(Names)), Names)).

text() ->
    Ranges = [{32, 126}, {0, 127}, {128, 2047}, {2048, 55295}, {57344, 65535}, {65536, 1114111}],
    unicode:characters_to_binary([character(lists:nth(rand:uniform(6), Ranges)) || _ <- lists:seq(1, rand:uniform(12))]).

character({Low, High}) -> Low + rand:uniform(High - Low + 1) - 1.

random_bytes(Count) -> << <<(rand:uniform(256) - 1)>> || _ <- lists:seq(1, Count) >>.

say(T) when is_integer(T), abs(T) =< 9007199254740991 -> integer_to_list(T);
say(T) when is_integer(T) -> ["{\"$big\":\"", integer_to_list(T), "\"}"];
say(T) when is_float(T) -> ["{\"$float\":\"", hex(<<T/float>>), "\"}"];
say(T) when is_atom(T) -> ["{\"$atom\":\"", hex(atom_to_binary(T, utf8)), "\"}"];
say(T) when is_binary(T) -> ["{\"$bin\":\"", hex(T), "\"}"];
say(T) when is_bitstring(T) -> ["{\"$text\":\"", io_lib:format("~w", [T]), "\"}"];
say(T) when is_list(T) -> say_list(T, []);
say(T) when is_tuple(T) -> ["[", lists:join(",", [say(E) || E <- tuple_to_list(T)]), "]"];
say(T) when is_map(T) ->
    ["{\"$map\":[", lists:join(",", [["[", say(K), ",", say(V), "]"] || {K, V} <- maps:to_list(T)]), "]}"];
say(T) when is_pid(T) -> ["{\"$text\":\"", with_node(pid_to_list(T)), "\"}"];
say(T) when is_reference(T) -> ["{\"$text\":\"", with_node(ref_to_list(T)), "\"}"];
say(T) when is_port(T) -> ["{\"$text\":\"", with_node(port_to_list(T)), "\"}"];
say(T) when is_function(T) -> ["{\"$text\":\"", io_lib:format("~w", [T]), "\"}"].

%% The tail of an improper list is its last element.
say_list([Head | Tail], Said) -> say_list(Tail, [say(Head) | Said]);
say_list([], Said) -> ["[", lists:join(",", lists:reverse(Said)), "]"];
say_list(Tail, Said) -> say_list([], [say(Tail) | Said]).

%% A shell shows its own node as 0, the external format has the node's name.
with_node(Text) -> re:replace(Text, "<0\\.", "<" ++ atom_to_list(node()) ++ ".", [{return, list}]).

hex(Bytes) -> binary:encode_hex(Bytes).
